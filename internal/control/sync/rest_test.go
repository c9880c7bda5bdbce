package sync

import (
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: pause, time.Millisecond / 2: pause, 2 * time.Millisecond: 38 * time.Millisecond, time.Minute: maxPause, -time.Second: pause,
	} {
		if got := rest(took); got != want {
			t.Errorf("after a step of %v: %v, not %v", took, got, want)
		}
	}
}
