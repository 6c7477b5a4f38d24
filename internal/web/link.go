package web

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"mailbeacon/internal/api"
	"mailbeacon/internal/audit"
)

const (
	linkLife  = 10 * time.Minute
	mostLinks = 64 // that are good at a time; the oldest goes
)

// links are the one-time links that nobody used yet. They are kept in memory alone, by their hash. It may be used concurrently.
type links struct {
	now func() time.Time

	mu  sync.Mutex
	all map[[sha256.Size]byte]link
}

type link struct {
	name    string // of the key that it is as good as
	mark    string
	expires time.Time
}

// add makes a link for a key and returns its token.
func (l *links) add(name, mark string) (token string, expires time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	oldest := [sha256.Size]byte{}
	for id, one := range l.all {
		if !now.Before(one.expires) {
			delete(l.all, id)
		} else if first, ok := l.all[oldest]; !ok || one.expires.Before(first.expires) {
			oldest = id
		}
	}
	if len(l.all) >= mostLinks {
		delete(l.all, oldest)
	}
	token, expires = newID(), now.Add(linkLife)
	l.all[sha256.Sum256([]byte(token))] = link{name, mark, expires}
	return token, expires
}

// good says whether a token would work, and leaves it as it is.
func (l *links) good(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.all[sha256.Sum256([]byte(token))]
	return ok && l.now().Before(one.expires)
}

// use takes a token; it works once.
func (l *links) use(token string) (link, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := sha256.Sum256([]byte(token))
	one, ok := l.all[id]
	delete(l.all, id)
	return one, ok && l.now().Before(one.expires)
}

// Link makes a link that signs in as a key's holder: once, and within 10 minutes. The path is on this site.
func (s *Site) Link(who api.Holder) (path string, expires time.Time, err error) {
	mark, ok := s.o.Keys.Mark(who.Name)
	if !ok {
		return "", time.Time{}, errors.New("make a link to sign in with: the key is gone")
	}
	token, expires := s.links.add(who.Name, mark)
	s.note(audit.Entry{Event: audit.LinkMade, Who: who.Name, Role: string(who.Role), Via: viaKey})
	return "/sign-in/link/" + token, expires, nil
}
