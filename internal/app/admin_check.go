package app

import (
	"context"
	"fmt"

	"portolan/internal/op"
	"portolan/internal/store"
)

// Finding is one defect.
type Finding struct {
	// Part is what found it: "store" or "overlay NAME".
	Part   string `json:"part"`
	Where  string `json:"where"`  // an entry's name, or a key
	What   string `json:"what"`   // what is wrong
	Advice string `json:"advice"` // what to do
}

// CheckSummary is what a check has looked at.
type CheckSummary struct {
	Entries     int64 `json:"entries"`
	Positions   int64 `json:"positions"`
	LargeValues int64 `json:"large_values"`
	Records     int64 `json:"journal_records"`
	Postings    int64 `json:"postings"`
	Findings    int64 `json:"findings"`
	// Overlays are those that verified what they keep.
	Overlays []string `json:"overlays"`
}

// Check implements Verbs. Progress counts parts: the store with its indexes, then each overlay that has something to
// verify. Each part sees one moment; a running server goes on writing meanwhile.
func (a *Admin) Check(ctx context.Context, report func(Finding), progress Progress) (*CheckSummary, error) {
	parts := int64(1)
	for i := range a.d.overlays {
		if a.d.overlays[i].Verifies() {
			parts++
		}
	}
	progress.tell(0, parts)
	stats, err := a.d.Store.Check(ctx, func(f store.Finding) {
		report(Finding{Part: "store", Where: f.Where, What: f.What, Advice: f.Advice})
	})
	if err != nil {
		return nil, fmt.Errorf("the store cannot be checked to its end: %w", err)
	}
	sum := &CheckSummary{
		Entries: stats.Entries, Positions: stats.Positions, LargeValues: stats.LargeValues, Records: stats.Records,
		Postings: stats.Postings, Findings: stats.Findings, Overlays: []string{},
	}
	for i := range a.d.overlays {
		o := &a.d.overlays[i]
		if !o.Verifies() {
			continue
		}
		progress.tell(1+int64(len(sum.Overlays)), parts)
		if err := a.checkOverlay(ctx, o, sum, report); err != nil {
			return nil, fmt.Errorf("what overlay %s keeps cannot be checked to its end: %w", o.Name, err)
		}
		sum.Overlays = append(sum.Overlays, o.Name)
	}
	progress.tell(parts, parts)
	return sum, nil
}

func (a *Admin) checkOverlay(ctx context.Context, o *op.Overlay, sum *CheckSummary, report func(Finding)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	view := a.d.Store.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return err
	}
	return o.VerifyAll(view, func(f op.Finding) {
		sum.Findings++
		report(Finding{Part: "overlay " + o.Name, Where: f.Where, What: f.What, Advice: f.Advice})
	})
}
