package edge

import (
	"time"

	"github.com/valyala/fasthttp"
)

// Limits bound what one peer, and all of them together, may take. A zero field means its default.
// fasthttp by itself waits for ever, accepts 256 Ki connections and 4 MiB bodies, and logs what it
// was sent; nothing here is left to it.
type Limits struct {
	// ReadTimeout is how long a whole request may take from its first byte (on a new connection:
	// from the accept) to the end of its body. A client that trickles is cut off there: 408. Default 10 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long an answer may take to be taken off our hands. Default 10 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may rest between two requests. Default 60 s.
	IdleTimeout time.Duration
	// HeaderBytes bounds request line and headers together: 431 beyond. It is also what a
	// connection holds while it is open. 16 KiB by default: the cookies of a parent domain come
	// along unasked.
	HeaderBytes int
	// BodyBytes bounds a body, of a request of any kind: 413 beyond. Default 64 KiB.
	BodyBytes int
	// Conns bounds the open connections: 503 and close beyond. Default 16384.
	Conns int
	// ConnsPerAddress bounds those of one address (IPv6: of one /64, which is what one customer
	// gets): 429 and close beyond. Trusted proxies are exempt. Default 1024.
	ConnsPerAddress int
	// RequestsPerConn bounds the requests of one connection, so that load behind a balancer moves
	// in time: the last answer closes. Default 100000.
	RequestsPerConn int
}

func (l Limits) withDefaults() Limits {
	orElse(&l.ReadTimeout, 10*time.Second)
	orElse(&l.WriteTimeout, 10*time.Second)
	orElse(&l.IdleTimeout, time.Minute)
	orElse(&l.HeaderBytes, 16<<10)
	orElse(&l.BodyBytes, 64<<10)
	orElse(&l.Conns, 16<<10)
	orElse(&l.ConnsPerAddress, 1<<10)
	orElse(&l.RequestsPerConn, 100_000)
	return l
}

func orElse[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// newFasthttp is the one place where fasthttp is set up. What is not set here is off by default
// and stays so: TLS, GetOnly (preferences are posted), DisableKeepalive, LogAllErrors,
// DisableHeaderNamesNormalizing (headers are looked up by one spelling).
func newFasthttp(l Limits, handler fasthttp.RequestHandler, failed func(*fasthttp.RequestCtx, error), logger fasthttp.Logger) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:      handler,
		ErrorHandler: failed,

		ReadTimeout:        l.ReadTimeout,
		WriteTimeout:       l.WriteTimeout,
		IdleTimeout:        l.IdleTimeout,
		ReadBufferSize:     l.HeaderBytes,
		WriteBufferSize:    4 << 10, // an image or a redirect; a larger answer is written in pieces
		MaxRequestBodySize: l.BodyBytes,
		MaxRequestsPerConn: l.RequestsPerConn,

		// The guard counts connections before fasthttp does, exempts trusted proxies and keeps no
		// address in a log line, so fasthttp's own bounds must never be the first to be reached. A
		// worker outlives its connection by a moment, hence twice.
		Concurrency:   2 * l.Conns,
		MaxConnsPerIP: 0,

		// Keep-alive probes are on for every accepted connection already (Go's listener sets 15 s);
		// turning them on here would end the server when a peer is gone before it is set.
		TCPKeepalive: false,

		// Bodies are small and are read whole before the handler; nothing may be parsed, and no
		// temporary file written, that no handler asked for.
		StreamRequestBody:            false,
		DisablePreParseMultipartForm: true,

		// Giving the buffers back between requests saves 20 KiB an idle connection and costs a
		// read per request; Conns bounds the memory instead.
		ReduceMemoryUsage: false,

		// Nothing tells the software or its version. Date stays: RFC 9110 wants it of whoever has a
		// clock. An answer without content names no type.
		NoDefaultServerHeader: true,
		NoDefaultDate:         false,
		NoDefaultContentType:  true,

		// What fasthttp logs holds addresses and pieces of requests.
		Logger:                logger,
		SecureErrorLogMessage: true,

		CloseOnShutdown: true,
	}
}
