//go:build race

package edge

// raced: the race detector makes sync.Pool forget a part of what it is given, so that pooled
// things are allocated again now and then.
const raced = true
