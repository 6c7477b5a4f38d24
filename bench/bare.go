package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// gif is the constant that the peer answers: a transparent GIF of as many bytes as a beacon has.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

const gifBytes = 43

// runBare serves the constant with what fasthttp does by itself: it opens no token, looks at no
// consent and writes nothing down.
func runBare(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("bare", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:8090", "`address` to listen on")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		ctx.SetContentType("image/gif")
		ctx.Response.Header.Set("Cache-Control", "no-store")
		ctx.SetBody(gif)
	}}
	defer context.AfterFunc(ctx, func() { _ = server.Shutdown() })()
	fmt.Fprintln(out, "listening on", ln.Addr())
	return server.Serve(ln)
}
