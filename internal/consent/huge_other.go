//go:build !linux

package consent

// preferHuge has nothing to ask for here.
func preferHuge([]uint64) {}
