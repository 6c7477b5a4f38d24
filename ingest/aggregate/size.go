package aggregate

import "time"

// size is how many events a commit may hold. A commit that is not stored by the end of what is known of consent is folded anew, and would be
// late again: the next one holds half. With those that come through easily it grows again.
type size struct {
	usual int // where nothing was late
	most  int // 0: the usual
}

// due is from how many events on a commit is due before its time has come.
func (s *size) due() int {
	if s.most > 0 {
		return s.most
	}
	return s.usual
}

// bound is how many events a commit may hold, 0 for any number: one that is usual may have some more than due.
func (s *size) bound() int { return s.most }

// late notes that a commit of so many events was.
func (s *size) late(events int) { s.most = max(min(events, s.due())/2, 1) }

// stored notes that a commit of so many events took so long, and how much of its time was left then. Only one that was full lets the next
// hold more: twice as many where it had time for two of its kind more, an eighth more where a fifth of its time was left. So they stay below what
// would be late, and a store that takes long for any commit is not given ever smaller ones for good.
func (s *size) stored(events int, took, left time.Duration) {
	if s.most == 0 || events < s.most {
		return
	}
	switch {
	case 3*took <= left+took:
		s.most *= 2
	case took <= 4*left:
		s.most += max(s.most/8, 1)
	}
	if s.most >= s.usual {
		s.most = 0
	}
}
