package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portolan/internal/bench"
)

// TestAnswers: the load generator is content with all that the bare loop claims to answer.
func TestAnswers(t *testing.T) {
	data := bench.DataSet{Base: bench.DefaultBase, Seed: 1, People: 50}
	file := filepath.Join(t.TempDir(), "people.ldif")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := data.WriteLDIF(f, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(nc)
		}
	}()
	for workload, failed := range map[string]bool{bench.Search: false, bench.Base: false, bench.Bind: false, bench.Connect: false, bench.Modify: true, bench.And: true} {
		o := bench.Options{
			URL: "ldap://" + l.Addr().String(), Workload: workload, Connections: 3, Outstanding: 1, Count: 100, Duration: time.Minute,
			Requests: bench.Requests{Data: data, Run: "t", Entries: -1},
		}
		if workload == bench.Search {
			o.Outstanding = 16
		}
		r, err := bench.Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if (r.Failed() > 0) != failed || r.Done+r.Failed() != 100 {
			t.Errorf("%s: %+v", workload, r)
		}
	}
	// Somebody who is not there is not found, and a wrong password is wrong.
	o := bench.Options{
		URL: "ldap://" + l.Addr().String(), Workload: bench.Bind, Connections: 1, Outstanding: 1, Count: 1, Duration: time.Minute,
		Requests: bench.Requests{Data: data, Run: "t", Users: []bench.User{{DN: data.Person(0), Password: "wrong"}}},
	}
	if r, err := bench.Run(context.Background(), o); err != nil || r.Failed() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Workload, o.Requests.Users, o.Requests.Data.People, o.Seed = bench.Search, nil, bench.MaxPeople, 1
	if r, err := bench.Run(context.Background(), o); err != nil || r.Failed() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
