// Package plain reads the one sort of request that nearly all beacons are asked for with: a whole
// GET without a body, in nothing but the letters that RFC 9110 and RFC 9112 give it. It is strict
// where a server is lenient: what it does not know for certain is not plain, and is left to one
// that reads everything.
package plain

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"
)

// Request is what a beacon's handler looks at of a request. The slices point into the bytes that
// were parsed; a header that did not come is nil.
type Request struct {
	Target     []byte // letters, digits and /._- alone
	UserAgent  []byte
	SecGPC     []byte
	SecPurpose []byte
	Purpose    []byte
	XMoz       []byte
	XPurpose   []byte
	// ForwardedFor and Forwarded are what proxies say; anybody else can say it too.
	ForwardedFor []byte
	Forwarded    []byte

	// Peer is the other end of the connection, and Time when the request was read: the caller's to
	// fill in.
	Peer netip.Addr
	Time time.Time
}

const (
	method  = "GET "
	version = " HTTP/1.1\r\n"
)

// Parse reads b into r and says whether b is one whole plain request and nothing else. Where it is
// not, r's texts mean nothing. It allocates nothing and does not look at Peer and Time.
func Parse(b []byte, r *Request) bool {
	peer, at := r.Peer, r.Time
	*r = Request{Peer: peer, Time: at}
	if len(b) < len(method) || string(b[:len(method)]) != method {
		return false
	}
	b = b[len(method):]
	n := 0
	for n < len(b) && class[b[n]]&inTarget != 0 {
		n++
	}
	if n == 0 || b[0] != '/' || len(b)-n < len(version) || string(b[n:n+len(version)]) != version {
		return false
	}
	r.Target = b[:n]
	return r.fields(b[n+len(version):])
}

// fields reads the header section, which must end where b does.
func (r *Request) fields(b []byte) bool {
	host := false
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 1 || b[end-1] != '\r' {
			return false
		}
		line := b[:end-1]
		b = b[end+1:]
		if len(line) == 0 {
			return host && len(b) == 0
		}
		n := 0
		for n < len(line) && class[line[n]]&inName != 0 {
			n++
		}
		if n == 0 || n == len(line) || line[n] != ':' {
			return false
		}
		name, value := line[:n], trim(line[n+1:])
		if !printable(value) || !r.field(name, value, &host) {
			return false
		}
	}
}

// field keeps a header that is looked at, and says no to one that makes a request more than plain.
func (r *Request) field(name, value []byte, host *bool) bool {
	switch len(name) {
	case 4:
		if is(name, "host") {
			if *host || !isHost(value) {
				return false
			}
			*host = true
		}
	case 5:
		if is(name, "x-moz") {
			return keep(&r.XMoz, value)
		}
	case 6:
		return !is(name, "expect")
	case 7:
		switch {
		case is(name, "sec-gpc"):
			return keep(&r.SecGPC, value)
		case is(name, "purpose"):
			return keep(&r.Purpose, value)
		}
		return !is(name, "upgrade") && !is(name, "trailer")
	case 9:
		switch {
		case is(name, "x-purpose"):
			return keep(&r.XPurpose, value)
		case is(name, "forwarded"):
			return keep(&r.Forwarded, value)
		}
	case 10:
		switch {
		case is(name, "user-agent"):
			return keep(&r.UserAgent, value)
		case is(name, "connection"):
			return is(value, "keep-alive")
		}
	case 11:
		if is(name, "sec-purpose") {
			return keep(&r.SecPurpose, value)
		}
	case 14:
		return !is(name, "content-length")
	case 15:
		if is(name, "x-forwarded-for") {
			return keep(&r.ForwardedFor, value)
		}
	case 17:
		return !is(name, "transfer-encoding")
	}
	return true
}

// isHost says whether a text is a name or an IPv4 address, with or without a port of five digits at
// most. Other forms are for others to judge.
func isHost(b []byte) bool {
	name, port, found := bytes.Cut(b, colon)
	for _, c := range name {
		if class[c]&inTarget == 0 || c == '/' {
			return false
		}
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(name) > 0 && (!found || 0 < len(port) && len(port) <= 5)
}

var colon = []byte{':'}

// keep takes a value, unless one came before: who sends two means something else.
func keep(to *[]byte, value []byte) bool {
	if *to != nil {
		return false
	}
	*to = value
	return true
}

// is compares with a word in small letters, whatever the case.
func is(text []byte, word string) bool {
	if len(text) != len(word) {
		return false
	}
	for i := range text {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// printable says whether all bytes are visible ASCII, spaces or tabs, eight at a time where they
// hold no tab.
func printable(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// A top bit is set where a byte is above 0x7f, is 0x7f, or is below 0x20.
		if (x|(x+ones)|(x-0x20*ones))&tops != 0 {
			break
		}
		b = b[8:]
	}
	for _, c := range b {
		if class[c]&inValue == 0 {
			return false
		}
	}
	return true
}

const (
	inTarget = 1 << iota
	inName
	inValue
)

// class says where a byte may stand.
var class = func() (t [256]uint8) {
	for c := ' '; c < 0x7f; c++ {
		t[c] |= inValue
	}
	t['\t'] |= inValue
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= inName
	}
	for c := range 0x80 {
		if '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' {
			t[c] |= inTarget | inName
		}
	}
	for _, c := range "/._-" {
		t[c] |= inTarget
	}
	return t
}()
