package app

import (
	"os"
	"runtime"

	"portolan/internal/credential"
	"portolan/internal/privilege"
)

// aside has the hashing of passwords of which nothing is known give way to everything else: in the eyes of the system by a low
// priority of its threads, and in those of Go's scheduler by as many processors more while there is something to hash. A thread that
// has to wait would keep its processor from all others otherwise, up to ten milliseconds at a time.
func aside() credential.PoolConfig {
	if !privilege.CanYield {
		return credential.PoolConfig{}
	}
	processors := 0
	return credential.PoolConfig{
		Yield: func() { _ = privilege.Yield() }, // where it is forbidden, hashing is as before
		Crowd: func(on bool) {
			switch {
			case on:
				processors = runtime.GOMAXPROCS(0)
				runtime.GOMAXPROCS(2 * processors)
			case os.Getenv("GOMAXPROCS") != "":
				runtime.GOMAXPROCS(processors)
			default:
				runtime.SetDefaultGOMAXPROCS()
			}
		},
	}
}
