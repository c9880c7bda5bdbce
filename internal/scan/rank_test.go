package scan

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func durations(f ...float64) []time.Duration {
	out := make([]time.Duration, len(f))
	for i := range f {
		out[i] = time.Duration(f[i] * float64(time.Second))
	}
	return out
}

// TestMannWhitney compares with what the formula gives by hand, which is what R's wilcox.test(a, b, exact = FALSE) uses.
func TestMannWhitney(t *testing.T) {
	for _, x := range []struct {
		a, b   []time.Duration
		want   float64
		slower bool
	}{
		{durations(1, 2, 3, 4, 5), durations(6, 7, 8, 9, 10), 0.01219, false},
		{durations(6, 7, 8, 9, 10), durations(1, 2, 3, 4, 5), 0.01219, true},
		// The example of R's own manual page: W = 35.
		{durations(0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46), durations(1.15, 0.88, 0.90, 0.74, 1.21), 0.2446, true},
		// With ties: U = 3, the sum of t^3-t is 54, z = 9/sqrt(25/12*10.4).
		{durations(1, 1, 2, 2, 3), durations(2, 3, 3, 4, 5), 0.05317, false},
		{durations(1, 1, 1), durations(1, 1, 1), 1, false},
		{nil, durations(1), 1, false},
	} {
		p, slower := mannWhitney(x.a, x.b)
		if math.Abs(p-x.want) > 0.0005 || slower != x.slower {
			t.Errorf("%v %v: p = %.5f, slower %t; want %.5f, %t", x.a, x.b, p, slower, x.want, x.slower)
		}
	}
}

// TestMannWhitneyIsCalibrated draws both samples from one distribution: the test must cry wolf as often as it says.
func TestMannWhitneyIsCalibrated(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const runs = 4000
	wolf := 0
	for range runs {
		var a, b []time.Duration
		for range 25 {
			a, b = append(a, time.Duration(r.ExpFloat64()*1e6)), append(b, time.Duration(r.ExpFloat64()*1e6))
		}
		if p, _ := mannWhitney(a, b); p < 0.05 {
			wolf++
		}
	}
	if rate := float64(wolf) / runs; rate < 0.035 || rate > 0.065 {
		t.Errorf("p < 0.05 in %.3f of the runs", rate)
	}
}
