package app

import (
	"errors"
	"sync"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/store"
)

// checkLoaded asks every overlay whether what it keeps is right in what was just loaded, all at the same time and in one pass over
// the entries, and returns the first findings, in the order of the overlays, and how many there are.
func (d *Directory) checkLoaded(l *store.Loader) (first []Finding, all int, err error) {
	checks := make([]*overlayCheck, 0, len(d.overlays))
	var begun sync.WaitGroup
	for i := range d.overlays {
		if o := &d.overlays[i]; o.Verifies() {
			c := &overlayCheck{o: o, view: loadedView{d.Store.View(), l}}
			defer c.view.Close()
			checks = append(checks, c)
			begun.Go(c.begin)
		}
	}
	begun.Wait()
	err = d.showEntries(checks)
	for _, c := range checks {
		first = append(first, c.first[:min(len(c.first), maxFindings-len(first))]...)
		all += c.count
		err = errors.Join(err, c.err)
	}
	return first, all, err
}

// loadedView is a view of what was just loaded: the loader still knows most names, without reading.
type loadedView struct {
	*store.View
	loader *store.Loader
}

// ID is that of View.
func (v loadedView) ID(norm string) (dit.ID, error) {
	if id := v.loader.Known(norm); id != 0 {
		return id, nil
	}
	return v.View.ID(norm)
}

// overlayCheck is the check of one overlay, which uses a view of its own.
type overlayCheck struct {
	o    *op.Overlay
	view loadedView
	each func(e *dit.Entry) error

	first []Finding
	count int
	err   error
}

func (c *overlayCheck) begin() { c.each, c.err = c.o.BeginCheck(c.view, c.found) }

func (c *overlayCheck) found(f op.Finding) {
	if c.count++; c.count <= maxFindings {
		c.first = append(c.first, Finding{Part: "overlay " + c.o.Name, Where: f.Where, What: f.What, Advice: f.Advice})
	}
}

// look shows entries to the check until an error.
func (c *overlayCheck) look(in <-chan []*dit.Entry) {
	for entries := range in {
		for i := 0; c.err == nil && i < len(entries); i++ {
			c.err = c.each(entries[i])
		}
	}
}

// checkBatch is how many entries go to the checks at once.
const checkBatch = 128

// showEntries reads all entries once, for all the checks that want to see them, which work beside each other.
func (d *Directory) showEntries(checks []*overlayCheck) error {
	var running sync.WaitGroup
	var out []chan<- []*dit.Entry
	for _, c := range checks {
		if c.each != nil && c.err == nil {
			in := make(chan []*dit.Entry, 4)
			out = append(out, in)
			running.Go(func() { c.look(in) })
		}
	}
	if len(out) == 0 {
		return nil
	}
	batch := make([]*dit.Entry, 0, checkBatch)
	send := func() {
		for _, in := range out {
			in <- batch
		}
		batch = make([]*dit.Entry, 0, checkBatch)
	}
	view := d.Store.View()
	defer view.Close()
	err := view.EachEntry(func(e *dit.Entry) error {
		if batch = append(batch, e); len(batch) == checkBatch {
			send()
		}
		return nil
	})
	send()
	for _, in := range out {
		close(in)
	}
	running.Wait()
	return err
}
