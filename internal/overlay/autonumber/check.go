package autonumber

import (
	"fmt"
	"strconv"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// check reports state that cannot be read.
func (x *autonumber) check(r op.Reader, report func(op.Finding)) error {
	states, ok := r.(op.StateReader)
	if !ok {
		return nil
	}
	for _, n := range x.ranges {
		if err := n.checkState(states, report); err != nil {
			return err
		}
	}
	return nil
}

// checkEntries reports numbers that more than one entry of a range has.
func (x *autonumber) checkEntries(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	var checks []func(e *dit.Entry) error
	for _, n := range x.ranges {
		if t := r.Schema().AttributeTypeString(n.Attribute); t != nil {
			checks = append(checks, n.checkDuplicates(r, t, report))
		}
	}
	return op.All(checks), nil
}

func (n *numbers) checkDuplicates(r op.Reader, t *schema.AttributeType, report func(op.Finding)) func(e *dit.Entry) error {
	first := make(map[int64]dit.ID)
	return func(e *dit.Entry) error {
		for _, number := range numbersOf(e, schema.Description{Type: t}) {
			if number < n.First || number > n.Last {
				continue
			}
			in, err := n.part.Has(r, e)
			if err != nil {
				return err
			}
			if !in {
				return nil
			}
			other, twice := first[number]
			if !twice {
				first[number] = e.ID
				continue
			}
			where, err := r.Name(e)
			if err != nil {
				return err
			}
			what := fmt.Sprintf("entry %d", other)
			if o, err := r.Get(other); err == nil && o != nil {
				if name, err := r.Name(o); err == nil {
					what = name.DN
				}
			}
			report(op.Finding{Where: where.DN, What: fmt.Sprintf("%s %d is the number of %s too", n.Attribute, number, what),
				Advice: "give one of them another number; the overlay gives none twice"})
		}
		return nil
	}
}

func (n *numbers) checkState(r op.StateReader, report func(op.Finding)) error {
	return r.EachState([]byte(n.key), func(key, value []byte) bool {
		kind := strings.TrimPrefix(string(key), n.key)
		_, err := strconv.ParseInt(string(value), 10, 64)
		if string(value) == "end" {
			err = nil
		}
		if err != nil {
			report(op.Finding{Where: string(key), What: fmt.Sprintf("the state %q of the numbers of %s is %q, which is no number", kind, n.Attribute, value),
				Advice: "restore the backup, or change the first number of the range: it begins anew then, behind all that are taken"})
		}
		return true
	})
}
