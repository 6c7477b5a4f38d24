package edge

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// route is the whole map of the public side.
func (s *Server) route(ctx *fasthttp.RequestCtx) {
	defer s.rescue(ctx)
	path := target(ctx.Request.Header.RequestURI())
	switch {
	case under(path, "/o/"):
		if allowed(ctx, false) {
			s.o.Pixel.Serve(ctx, rest(path))
		}
	case under(path, "/c/"):
		if allowed(ctx, false) && !s.o.Redirect.Serve(ctx, rest(path)) {
			s.o.NotFound(ctx)
		}
	case under(path, "/u/"):
		if allowed(ctx, true) && !s.o.Preferences.Serve(ctx, rest(path)) {
			s.o.NotFound(ctx)
		}
	case string(path) == "/robots.txt":
		if allowed(ctx, false) {
			file(ctx, textType, robots)
		}
	case string(path) == "/.well-known/gpc.json":
		if allowed(ctx, false) {
			file(ctx, jsonType, gpc)
		}
	default:
		s.o.NotFound(ctx)
	}
}

func under(path []byte, prefix string) bool {
	return len(path) >= len(prefix) && string(path[:len(prefix)]) == prefix
}

// rest is what follows the three bytes of a prefix. One slash at the end is put there by programs
// that take every path for a folder.
func rest(path []byte) []byte {
	return bytes.TrimSuffix(path[3:], slash)
}

// allowed lets GET and HEAD through, and POST where the address takes it; other methods are answered.
func allowed(ctx *fasthttp.RequestCtx, post bool) bool {
	switch {
	case ctx.IsGet(), ctx.IsHead(), post && ctx.IsPost():
		return true
	case post:
		ctx.Response.Header.SetCanonical(allow, getHeadPost)
	default:
		ctx.Response.Header.SetCanonical(allow, getHead)
	}
	wrongMethod.write(ctx)
	return false
}

// target is the path of a request target as it was sent, origin-form or absolute-form, without
// query and fragment. fasthttp's own Path is decoded and normalised: "/c/../o/x" would be another
// address there than it is on the wire.
func target(uri []byte) []byte {
	if i := bytes.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	if len(uri) > 0 && uri[0] != '/' {
		_, authority, found := bytes.Cut(uri, schemeEnd)
		i := bytes.IndexByte(authority, '/')
		if !found || i < 0 {
			return nil
		}
		uri = authority[i:]
	}
	if bytes.IndexByte(uri, '%') >= 0 {
		return unescape(uri)
	}
	return uri
}

// unescape decodes the percent-encoded characters that need no encoding (RFC 3986, section 2.3),
// and leaves all others as they are. The two forms are equivalent, and there are mail gateways
// that encode every hyphen.
func unescape(path []byte) []byte {
	const longest = 256 // no address here comes near
	if len(path) > longest {
		return path
	}
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			high, low := unhex(path[i+1]), unhex(path[i+2])
			if high >= 0 && low >= 0 && unreserved(byte(high<<4|low)) {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		decoded = append(decoded, c)
	}
	return decoded
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

var (
	slash       = []byte("/")
	schemeEnd   = []byte("://")
	getHead     = []byte("GET, HEAD")
	getHeadPost = []byte("GET, HEAD, POST")
)
