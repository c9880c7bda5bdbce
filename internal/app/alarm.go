package app

import (
	"sync"
	"time"
)

// longestSleep bounds how long an alarm trusts a timer: the clock may be set meanwhile.
const longestSleep = time.Minute

// alarm is op.Ports.Alarm by the machine's clock.
func alarm(f func()) (set func(at time.Time), stop func()) {
	var (
		mu    sync.Mutex
		at    time.Time // zero: never
		wake  = make(chan struct{}, 1)
		end   = make(chan struct{})
		ended = make(chan struct{})
	)
	due := func() (now bool, in time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() {
			return false, longestSleep
		}
		if in = time.Until(at.Round(0)); in <= 0 {
			at = time.Time{}
			return true, 0
		}
		return false, min(in, longestSleep)
	}
	go func() {
		defer close(ended)
		timer := time.NewTimer(longestSleep)
		defer timer.Stop()
		for {
			now, in := due()
			if now {
				f()
				continue
			}
			timer.Reset(in)
			select {
			case <-timer.C:
			case <-wake:
			case <-end:
				return
			}
		}
	}()
	set = func(t time.Time) {
		mu.Lock()
		at = t
		mu.Unlock()
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	var once sync.Once
	return set, func() {
		once.Do(func() { close(end) })
		<-ended
	}
}
