package intake

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"github.com/valyala/fasthttp"

	"mailbeacon/internal/plain"
)

// Header names a header in which a reverse proxy says whom it speaks for.
type Header string

const (
	// XForwardedFor is the de-facto list of addresses, nearest last.
	XForwardedFor Header = "X-Forwarded-For"
	// Forwarded is its standard form (RFC 7239), of which the for= parameters are read.
	Forwarded Header = "Forwarded"
)

// Proxies finds the address a request came from. A header counts only where the connection itself
// comes from a trusted proxy, since anybody can write one; and only one kind of header is read,
// since a proxy that sets one may pass the other through unseen. The zero Proxies trusts nobody.
// It is read-only and may be used concurrently.
type Proxies struct {
	trusted []netip.Prefix
	header  Header
}

// NewProxies trusts the given networks to tell the client's address in a header, X-Forwarded-For
// where header is empty. A header of another name is an error.
func NewProxies(trusted []netip.Prefix, header Header) (Proxies, error) {
	switch header {
	case "":
		header = XForwardedFor
	case XForwardedFor, Forwarded:
	default:
		return Proxies{}, fmt.Errorf("client address header: %q is neither %s nor %s", header, XForwardedFor, Forwarded)
	}
	p := Proxies{header: header}
	for _, network := range trusted {
		if !network.IsValid() {
			return Proxies{}, errors.New("trusted proxies: not a network")
		}
		p.trusted = append(p.trusted, network.Masked())
	}
	return p, nil
}

// Trusts tells whether an address is a trusted proxy's.
func (p Proxies) Trusts(addr netip.Addr) bool {
	for i := range p.trusted {
		if p.trusted[i].Contains(addr) {
			return true
		}
	}
	return false
}

// Client is the address that the request came from: the connection's, or the nearest hop that is
// no trusted proxy. It is the zero Addr where that hop is not told as an address. Nothing is
// allocated, and nothing of it is kept.
func (p Proxies) Client(ctx *fasthttp.RequestCtx) netip.Addr {
	peer := Peer(ctx.RemoteAddr())
	if len(p.trusted) == 0 || !p.Trusts(peer) {
		return peer
	}
	lines := ctx.Request.Header.PeekAll(string(p.header))
	for i := len(lines) - 1; i >= 0; i-- {
		var known bool
		if peer, known = p.nearest(peer, lines[i]); known {
			return peer
		}
	}
	return peer
}

// ClientPlain is Client for a request that no RequestCtx was made for.
func (p Proxies) ClientPlain(r *plain.Request) netip.Addr {
	if len(p.trusted) == 0 || !p.Trusts(r.Peer) {
		return r.Peer
	}
	line := r.ForwardedFor
	if p.header == Forwarded {
		line = r.Forwarded
	}
	addr, _ := p.nearest(r.Peer, line)
	return addr
}

// nearest goes through one line of hops from its end, and says whether the address is the one that
// was looked for: that of the first hop that is no trusted proxy. Without one it is the last that
// was passed.
func (p Proxies) nearest(addr netip.Addr, list []byte) (_ netip.Addr, known bool) {
	for more := true; more; {
		var hop []byte
		list, hop, more = lastElement(list)
		if len(hop) == 0 {
			continue
		}
		addr = p.parse(hop)
		if !addr.IsValid() || !p.Trusts(addr) {
			return addr, true
		}
	}
	return addr, false
}

// Peer is the address at the other end of a TCP connection, the zero Addr of any other.
func Peer(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	return ip.Unmap()
}

// parse reads one hop of the list. Anything but an address is the zero Addr.
func (p Proxies) parse(hop []byte) netip.Addr {
	if p.header == Forwarded {
		var ok bool
		if hop, ok = forParameter(hop); !ok {
			return netip.Addr{}
		}
	}
	return parseNode(hop)
}

// lastElement cuts the last element off a comma-separated list, with its blanks. Commas within a
// quoted string do not separate.
func lastElement(list []byte) (rest, element []byte, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case list[i] == ',' && !quoted:
			return list[:i], trim(list[i+1:]), true
		}
	}
	return nil, trim(list), false
}

// forParameter is the value of the for parameter in one element of a Forwarded header.
func forParameter(element []byte) ([]byte, bool) {
	for len(element) > 0 {
		pair, others, _ := bytes.Cut(element, semicolon)
		pair, element = trim(pair), others
		if len(pair) < 4 || pair[0]|0x20 != 'f' || pair[1]|0x20 != 'o' || pair[2]|0x20 != 'r' || pair[3] != '=' {
			continue
		}
		value := pair[4:]
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		return value, true
	}
	return nil, false
}

var semicolon = []byte{';'}

// parseNode reads an address as proxies write it: 192.0.2.1, 192.0.2.1:80, 2001:db8::1,
// [2001:db8::1] or [2001:db8::1]:80. A zone is refused: it means nothing beyond one link.
func parseNode(node []byte) netip.Addr {
	if len(node) > 0 && node[0] == '[' {
		end := bytes.IndexByte(node, ']')
		if end < 0 || !portOrNothing(node[end+1:]) {
			return netip.Addr{}
		}
		node = node[1:end]
	} else if colon := bytes.IndexByte(node, ':'); colon >= 0 && colon == bytes.LastIndexByte(node, ':') {
		if !portOrNothing(node[colon:]) {
			return netip.Addr{}
		}
		node = node[:colon]
	}
	const longest = 45 // of all textual addresses
	if len(node) == 0 || len(node) > longest || bytes.IndexByte(node, '%') >= 0 {
		return netip.Addr{}
	}
	// ParseAddr keeps its argument in the error only, and the error ends here: the bytes need no
	// copy on the heap.
	addr, err := netip.ParseAddr(unsafe.String(&node[0], len(node)))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// portOrNothing tells whether b is empty or a colon and a port as RFC 7239 has them: up to five
// digits, or an obfuscated name that starts with an underscore.
func portOrNothing(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) < 2 {
		return false
	}
	if b[1] == '_' {
		return true
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) <= 6
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
