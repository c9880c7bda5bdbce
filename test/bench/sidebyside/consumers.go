package main

import (
	"context"
	"errors"
	"sync"

	"portolan/internal/bench"
	"portolan/internal/client"
	"portolan/ldap"
)

// consumers follow all of the directory with refreshAndPersist searches (RFC 4533), as replicas do, and throw away what they
// are sent. The function it returns ends them; it comes when all have had the whole content.
func (w *work) consumers(ctx context.Context, url string, n int) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	stop = func() {
		cancel()
		open.Wait()
	}
	refreshed := make(chan error, 2*n) // each tells of two things at the most
	for range n {
		conn, err := client.Dial(ctx, url, client.Options{})
		if err != nil {
			stop()
			return nil, err
		}
		if _, err := conn.Bind(ctx, w.data.Reader(), bench.ServicePassword); err != nil {
			conn.Close()
			stop()
			return nil, err
		}
		open.Go(func() {
			defer conn.Close()
			refreshed <- follow(ctx, conn, w.data.Base, refreshed)
		})
	}
	for range n {
		// The first answer of each is that its refresh is done, unless it ended before.
		if err := <-refreshed; err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// follow reads one search and tells once that it has had the content.
func follow(ctx context.Context, conn *client.Conn, base string, refreshed chan<- error) error {
	ask := ldap.SyncRequest{Mode: ldap.RefreshAndPersist}
	control := ldap.Control{OID: []byte(ldap.SyncRequestOID), Critical: true, Value: ask.Append(nil), HasValue: true}
	done := false
	_, err := conn.Do(ctx, &ldap.SearchRequest{Base: []byte(base), Scope: ldap.ScopeSub, Filter: ldap.Present("objectClass")}, []ldap.Control{control},
		func(m *ldap.Message) error {
			if _, info := m.Op.(*ldap.IntermediateResponse); info && !done {
				done = true
				refreshed <- nil
			}
			return nil
		})
	if err == nil {
		err = errors.New("a search that was to persist has ended")
	}
	return err
}
