package hasher

import (
	"bytes"
	"encoding/gob"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"portolan/internal/credential"
	"portolan/internal/privilege"
)

// tidyAfter is how long after the last hash memory is given back.
const tidyAfter = 500 * time.Millisecond

// Serve is the process: it answers the requests that it reads until there are no more, and returns when all are answered. How many
// are computed at a time is up to the server.
func Serve(in io.Reader, out io.Writer) error {
	_ = privilege.Yield() // where it is forbidden, hashing is as everything else
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	var write sync.Mutex
	var work sync.WaitGroup
	defer work.Wait()
	// What hashes took goes back to the system when no other comes soon.
	tidy := time.AfterFunc(tidyAfter, debug.FreeOSMemory)
	defer tidy.Stop()
	for {
		var q request
		if err := dec.Decode(&q); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		work.Go(func() {
			a := compute(&q)
			tidy.Reset(tidyAfter)
			write.Lock()
			defer write.Unlock()
			_ = enc.Encode(a) // where nobody reads any more, nothing more is asked either
		})
	}
}

func compute(q *request) *answer {
	a := &answer{ID: q.ID, Index: -1}
	var err error
	switch {
	case q.Equalize:
		a.Dummy = q.Params.Equalize(q.Password, q.Spent)
	case len(q.Salt) > 0:
		a.Hash, err = credential.Hash(q.Params, q.Password, bytes.NewReader(q.Salt))
	default:
		r := q.Params.Check(q.Values, q.Password)
		a.Index, a.Spent, a.Dummy, a.Skipped, err = r.Index, r.Spent, r.Dummy, r.Skipped, r.Err
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}
