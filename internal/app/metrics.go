package app

import (
	"errors"
	"net"
	"net/http"
	"time"

	"portolan/internal/config"
	"portolan/internal/metrics"
)

// serveMetrics opens [metrics] listen, where it says something.
func (s *Server) serveMetrics(c *config.Config) error {
	if c.Metrics.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", c.Metrics.Listen)
	if err != nil {
		return config.ErrorAt(c.At("metrics.listen"), err.Error(), "choose a port that is free")
	}
	s.metrics = &http.Server{
		Handler: metrics.Handler(s.snapshot), Addr: l.Addr().String(), MaxHeaderBytes: 8 << 10,
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	go func() {
		if err := s.metrics.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.Log.Error("metrics are no longer served", "error", err)
		}
	}()
	return nil
}
