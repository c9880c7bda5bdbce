package ttl

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// deadlines is a heap of entries by the time when they are over. An entry that was refreshed is in it twice: what the entry
// itself says counts.
type deadlines []due

type due struct {
	at time.Time
	id dit.ID
}

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h deadlines) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlines) Push(x any)        { *h = append(*h, x.(due)) }
func (h *deadlines) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// maxRemoved is how many entries one transaction removes, retryAfter when what could not be removed is tried again.
const (
	maxRemoved = 100
	retryAfter = time.Minute
)

// open finds the dynamic entries that there are, gives a time to those that have none, and sets the alarm.
func (x *ttl) open(p *op.Ports) (func(), error) {
	x.held = make(map[dit.ID]bool)
	set, stop := p.Alarm(x.expire)
	x.set = set
	x.ports.Store(p)
	without, err := x.load(p)
	if err == nil && len(without) > 0 {
		if err := x.giveTime(p, without); err != nil {
			p.Log.Warn("dynamic entries without a time could not be given one", "entries", len(without), "error", err)
		}
	}
	if err != nil {
		stop()
		return nil, err
	}
	x.arm()
	return stop, nil
}

func (x *ttl) load(p *op.Ports) (without []dit.ID, err error) {
	view := p.Directory.View()
	defer view.Close()
	s := view.Schema()
	t := of(s)
	if !t.ok() {
		return nil, nil
	}
	look := func(e *dit.Entry) error {
		if at, ok := deadline(s, e); ok {
			x.await(at, e.ID)
		} else if e != nil && e.IsA(s, t.class) {
			without = append(without, e.ID)
		}
		return nil
	}
	all, err := dynamicEntries(view, t)
	if err != nil { // the index is being built
		err = op.Walk(view, 0, look)
		return without, err
	}
	for it := all.Iterator(); it.HasNext(); {
		e, err := view.Get(dit.ID(it.Next()))
		if err != nil {
			return nil, err
		}
		_ = look(e)
	}
	return without, nil
}

// giveTime is for entries that came by an import.
func (x *ttl) giveTime(p *op.Ports, ids []dit.ID) error {
	for part := range slices.Chunk(ids, maxRemoved) {
		if err := p.Directory.Update(context.Background(), "ttl", func(tx op.Tx) error {
			t := of(tx.Schema())
			for _, id := range part {
				e, err := tx.Get(id)
				if err != nil {
					return err
				}
				if e == nil || !t.ok() {
					continue
				}
				d := e.Edit(tx)
				d.Set(t.expire, schema.AppendGeneralizedTime(nil, tx.Now().UTC().Truncate(time.Second).Add(x.o.Default)))
				if err := tx.Modify(d); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (x *ttl) await(at time.Time, id dit.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	heap.Push(&x.waiting, due{at, id})
}

// arm sets the alarm to the next deadline.
func (x *ttl) arm() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.waiting) > 0 {
		x.set(x.waiting[0].at)
	}
}

// observe learns of new deadlines, and of the last entry beneath one that is over.
func (x *ttl) observe(c op.Commit) {
	p := x.ports.Load()
	if p == nil {
		return
	}
	news := false
	for i := range c.Changes {
		ch := &c.Changes[i]
		if ch.After != nil {
			if at, ok := x.deadlineOf(ch.After); ok {
				x.await(at, ch.After.ID)
				news = true
			}
		}
		if ch.Before == nil || ch.After != nil && ch.After.Parent == ch.Before.Parent {
			continue
		}
		x.mu.Lock()
		if x.held[ch.Before.Parent] {
			delete(x.held, ch.Before.Parent)
			heap.Push(&x.waiting, due{time.Time{}.Add(1), ch.Before.Parent})
			news = true
		}
		delete(x.held, ch.Before.ID)
		x.mu.Unlock()
	}
	if news {
		x.arm()
	}
}

// deadlineOf is deadline for an entry of a commit, whose shape says what its schema calls things.
func (x *ttl) deadlineOf(e *dit.Entry) (time.Time, bool) {
	for slot, d := range e.Shape().Slots {
		if d.Type.Name() != "entryExpireTimestamp" || d.Options != "" {
			continue
		}
		v := e.Values(slot)
		value, ok := v.Next()
		if !ok {
			return time.Time{}, false
		}
		at, err := schema.ParseGeneralizedTime(value)
		return at, err == nil
	}
	return time.Time{}, false
}

// expire removes what is over.
func (x *ttl) expire() {
	p := x.ports.Load()
	for {
		ids := x.over(p.Now())
		if len(ids) == 0 {
			break
		}
		x.remove(p, ids)
	}
	x.arm()
}

// over takes entries that are over from the heap, as many as one transaction removes.
func (x *ttl) over(now time.Time) (ids []dit.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.waiting) > 0 && !x.waiting[0].at.After(now) && len(ids) < maxRemoved {
		if id := heap.Pop(&x.waiting).(due).id; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// remove removes entries together, or where that fails one by one. What cannot be removed stays, and is tried again later: an
// object class may demand a value that names it, or this server may take no writes.
func (x *ttl) remove(p *op.Ports, ids []dit.ID) {
	err := x.removeIn(p, ids)
	if err == nil {
		return
	}
	if len(ids) > 1 {
		for _, id := range ids {
			x.remove(p, []dit.ID{id})
		}
		return
	}
	if ldap.CodeOf(err) != ldap.Referral { // of copies the server that has the originals takes care
		p.Log.Warn("a dynamic entry whose time is over could not be removed", "entry", uint64(ids[0]), "error", err)
	}
	x.await(p.Now().Add(retryAfter), ids[0])
}

func (x *ttl) removeIn(p *op.Ports, ids []dit.ID) error {
	var held []dit.ID
	err := p.Directory.Update(context.Background(), "ttl", func(tx op.Tx) error {
		held = held[:0]
		todo := slices.Clone(ids)
		// Children are removed before their parents; what has others beneath it waits for these.
		for removed := true; removed && len(todo) > 0; {
			removed = false
			for i := len(todo) - 1; i >= 0; i-- {
				e, err := tx.Get(todo[i])
				if err != nil {
					return err
				}
				at, ok := deadline(tx.Schema(), e)
				if !ok || at.After(tx.Now()) { // gone, or refreshed: it is awaited anew then
					todo = slices.Delete(todo, i, i+1)
					continue
				}
				has, err := tx.HasChildren(e.ID)
				if err != nil {
					return err
				}
				if has {
					continue
				}
				if err := tx.Delete(e.ID); err != nil {
					return err
				}
				todo, removed = slices.Delete(todo, i, i+1), true
			}
		}
		held = append(held, todo...)
		return nil
	})
	if err != nil || len(held) == 0 {
		return err
	}
	x.mu.Lock()
	for _, id := range held {
		x.held[id] = true
	}
	x.mu.Unlock()
	// What was beneath may have gone before this was noted.
	return x.recheck(p, held)
}

// recheck awaits those held entries at once that have nothing beneath them any more.
func (x *ttl) recheck(p *op.Ports, held []dit.ID) error {
	view := p.Directory.View()
	defer view.Close()
	for _, id := range held {
		has, err := view.HasChildren(id)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		x.mu.Lock()
		if x.held[id] {
			delete(x.held, id)
			heap.Push(&x.waiting, due{time.Time{}.Add(1), id})
		}
		x.mu.Unlock()
	}
	return nil
}
