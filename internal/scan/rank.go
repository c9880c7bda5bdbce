package scan

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// mannWhitney returns the two-sided p of the Mann-Whitney U test that two samples come from one distribution: by the
// normal approximation with correction for ties and continuity, which is good from about ten values each. aSlower reports
// whether the values of a tend to be greater.
func mannWhitney(a, b []time.Duration) (p float64, aSlower bool) {
	type value struct {
		d     time.Duration
		fromA bool
	}
	all := make([]value, 0, len(a)+len(b))
	for _, d := range a {
		all = append(all, value{d, true})
	}
	for _, d := range b {
		all = append(all, value{d, false})
	}
	slices.SortFunc(all, func(x, y value) int { return cmp.Compare(x.d, y.d) })
	var ranks, ties float64 // sum of the ranks of a, sum of t^3-t over ties
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		middle := float64(i+1+j) / 2
		for k := i; k < j; k++ {
			if all[k].fromA {
				ranks += middle
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	na, nb := float64(len(a)), float64(len(b))
	n := na + nb
	if na == 0 || nb == 0 {
		return 1, false
	}
	u := ranks - na*(na+1)/2
	mean := na * nb / 2
	deviation := math.Sqrt(na * nb / 12 * (n + 1 - ties/(n*(n-1))))
	if deviation == 0 || math.IsNaN(deviation) {
		return 1, false
	}
	z := (math.Abs(u-mean) - 0.5) / deviation
	return min(1, math.Erfc(max(z, 0)/math.Sqrt2)), u > mean
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}
