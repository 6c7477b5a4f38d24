package spool

import "time"

// WithRetry makes the pauses between two tries to heal start with d.
func (o Options) WithRetry(d time.Duration) Options {
	o.retry = d
	return o
}

// Names and sizes that tests of damage need.
const (
	HeaderSize   = headerSize
	IdentityName = identityName
)

// SegmentName is the file name of the segment that starts with a number.
func SegmentName(first uint64) string { return segmentName(first) }

// SegmentHeader is a sound header.
func SegmentHeader(edge, epoch, first uint64, version byte) []byte {
	b := (&header{edge: edge, epoch: epoch, first: first}).encode()
	b[4] = version
	return resum(b)
}

// IdentityFile is a sound identity file.
func IdentityFile(edge, epoch uint64, version byte) []byte {
	b := identity{edge, epoch}.encode()
	b[4] = version
	return resum(b)
}

// RenewNow lets the active segment grow old at once, and returns when the spool has done what it does then.
func (s *Spool) RenewNow() {
	s.segMu.Lock()
	s.segs[len(s.segs)-1].born = time.Time{}
	s.segMu.Unlock()
	// The first waits in the channel, the second until that is taken, the third until it is dealt with.
	for range 3 {
		select {
		case s.renew <- struct{}{}:
		case <-s.done:
			return
		}
	}
	_ = s.Trim(0) // what fails is tried again
}
