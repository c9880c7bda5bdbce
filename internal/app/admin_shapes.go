package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"portolan/internal/config"
	"portolan/internal/guard/shapes"
	"portolan/internal/op"
)

// filtersMode is what is done with the filters of identities about which nothing was decided.
func filtersMode(c *config.Config) shapes.Mode {
	if c.Guard.ObserveFilters {
		return shapes.Observe
	}
	return shapes.Off
}

// ShapesQuery asks about the filter shapes of identities, or decides something about them. What is empty is left as it is.
type ShapesQuery struct {
	// DN names an identity, or is "anonymous". Empty lists the identities that are known.
	DN string `json:"dn,omitempty"`
	// Approve and Remove name shapes: by ID, as a filter, or "all".
	Approve []string `json:"approve,omitempty"`
	Remove  []string `json:"remove,omitempty"`
	// Mode is the new mode. For is how long it learns, in seconds, 0 being until further notice. Observed approves what was
	// observed until now.
	Mode     string `json:"mode,omitempty"`
	For      int64  `json:"for,omitempty"`
	Observed bool   `json:"observed,omitempty"`
}

func (q ShapesQuery) about() string {
	if q.DN == shapes.Anonymous {
		return ""
	}
	return q.DN
}

// note says for the audit log what is decided. Shapes may be named by filters with values in them: they are counted.
func (q ShapesQuery) note() string {
	var parts []string
	if n := len(q.Remove); n > 0 {
		parts = append(parts, fmt.Sprintf("removes %d shapes", n))
	}
	if n := len(q.Approve); n > 0 {
		parts = append(parts, fmt.Sprintf("approves %d shapes", n))
	}
	if q.Mode != "" {
		parts = append(parts, "mode "+q.Mode[:min(len(q.Mode), 16)])
	}
	if q.Observed {
		parts = append(parts, "approves what was observed")
	}
	return strings.Join(parts, ", ")
}

// changes reports whether anything is decided.
func (q *ShapesQuery) changes() bool {
	return len(q.Approve)+len(q.Remove) > 0 || q.Mode != ""
}

// ShapesAnswer is what is known: of all identities without their shapes, or of one with them.
type ShapesAnswer struct {
	Identities []shapes.Identity `json:"identities"`
	Shapes     []shapes.Shape    `json:"shapes,omitempty"`
}

// FilterShapes implements Verbs.
func (a *Admin) FilterShapes(ctx context.Context, q ShapesQuery) (*ShapesAnswer, error) {
	f := a.d.shapes
	if q.DN == "" {
		if q.changes() {
			return nil, errors.New("name the identity that this is about")
		}
		return &ShapesAnswer{Identities: f.Identities()}, nil
	}
	id, exists, err := a.shapesOf(q.DN)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if len(q.Remove) > 0 {
		err = f.Remove(ctx, id, q.Remove)
	}
	if err == nil && len(q.Approve) > 0 {
		err = f.Approve(ctx, id, q.Approve, now)
	}
	if err == nil && q.Mode != "" {
		err = a.setShapesMode(ctx, id, exists, q, now)
	}
	if err != nil {
		return nil, shapesError(err, q.DN)
	}
	identity, list, err := f.Shapes(id)
	if err != nil {
		return nil, shapesError(err, q.DN)
	}
	return &ShapesAnswer{Identities: []shapes.Identity{identity}, Shapes: list}, nil
}

func (a *Admin) setShapesMode(ctx context.Context, id *op.Identity, exists bool, q ShapesQuery, now time.Time) error {
	mode, err := shapes.ParseMode(q.Mode)
	if err != nil {
		return err
	}
	if _, _, err := a.d.shapes.Shapes(id); err != nil && !exists {
		return fmt.Errorf("there is no entry %s: write the DN that the application binds as", q.DN)
	}
	var until time.Time
	if q.For > 0 {
		until = now.Add(time.Duration(q.For) * time.Second)
	}
	return a.d.shapes.SetMode(ctx, id, mode, until, now, q.Observed)
}

func shapesError(err error, dn string) error {
	if errors.Is(err, shapes.ErrUnknown) {
		return fmt.Errorf("%w: %s has sent none", err, dn)
	}
	return err
}

// shapesOf returns the identity that a name stands for. An entry that is gone may have left something behind.
func (a *Admin) shapesOf(dn string) (id *op.Identity, exists bool, err error) {
	if dn == shapes.Anonymous {
		return op.Anonymous(), true, nil
	}
	name, err := a.d.Engine.NormalizeName(dn)
	if err != nil {
		return nil, false, err
	}
	if name.Norm == "" {
		return nil, false, errors.New(`those who have not authenticated are written "anonymous"`)
	}
	if admin := a.d.Engine.AdminIdentity("simple"); admin.Name.Norm == name.Norm {
		return admin, true, nil
	}
	id, err = a.d.Engine.Identify(name.Norm, "simple")
	if err != nil {
		return nil, false, err
	}
	if id == nil {
		return &op.Identity{Name: name, Method: "simple"}, false, nil
	}
	return id, true, nil
}
