//go:build !linux

package privilege

// CanYield says that Yield does something here.
const CanYield = false

// Yield does nothing here.
func Yield() error { return nil }
