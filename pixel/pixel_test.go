package pixel

import (
	"bytes"
	"image/color"
	"image/gif"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"mailbeacon/ingest/event"
	"mailbeacon/internal/plain"
)

func TestGIFIsOneTransparentPixel(t *testing.T) {
	t.Parallel()
	if len(GIF) != 43 {
		t.Fatalf("the image has %d bytes, want 43", len(GIF))
	}
	all, err := gif.DecodeAll(strings.NewReader(GIF))
	if err != nil {
		t.Fatalf("the image does not decode: %v", err)
	}
	if len(all.Image) != 1 || all.Config.Width != 1 || all.Config.Height != 1 {
		t.Fatalf("got %d frames of %dx%d, want one of 1x1", len(all.Image), all.Config.Width, all.Config.Height)
	}
	if _, _, _, alpha := all.Image[0].At(0, 0).RGBA(); alpha != 0 {
		t.Errorf("the pixel has alpha %d, want 0", alpha)
	}
	if c := all.Image[0].Palette[1]; c != (color.RGBA{R: 255, G: 255, B: 255, A: 255}) {
		t.Errorf("second colour is %v, want white", c)
	}
}

// witness remembers what it was told.
type witness struct {
	kind event.Kind
	text []byte
	n    int
}

func (w *witness) Observe(_ *fasthttp.RequestCtx, kind event.Kind, text []byte) {
	w.kind, w.text, w.n = kind, bytes.Clone(text), w.n+1
}

func (w *witness) ObservePlain(_ *plain.Request, text []byte) { w.Observe(nil, event.Open, text) }

func serve(h *Handler, method, name string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI("/o/" + name)
	h.Serve(ctx, []byte(name))
	return ctx
}

func TestServe(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method, name string
		kind         event.Kind
		text         string
	}{
		{"GET", "TOKEN.gif", event.Open, "TOKEN"},
		{"HEAD", "TOKEN.gif", event.Probe, "TOKEN"},
		{"GET", "TOKEN.gif.gif", event.Open, "TOKEN.gif"},
		{"GET", "TOKEN", event.Open, ""},
		{"GET", "TOKEN.png", event.Open, ""},
		{"GET", ".gif", event.Open, ""},
		{"GET", "", event.Open, ""},
	} {
		t.Run(tc.method+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			w := &witness{}
			ctx := serve(New(w), tc.method, tc.name)
			if w.n != 1 || w.kind != tc.kind || string(w.text) != tc.text {
				t.Errorf("observed %d times %v %q, want once %v %q", w.n, w.kind, w.text, tc.kind, tc.text)
			}
			if ctx.Response.StatusCode() != 200 || string(ctx.Response.Body()) != GIF {
				t.Errorf("answered %d with %d bytes", ctx.Response.StatusCode(), len(ctx.Response.Body()))
			}
		})
	}
}

func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	ctx := serve(New(&witness{}), "GET", "TOKEN.gif")
	h := &ctx.Response.Header
	for _, name := range []string{"Set-Cookie", "Etag", "Last-Modified", "Expires", "Vary"} {
		if v := h.Peek(name); len(v) != 0 {
			t.Errorf("the answer carries %s: %s", name, v)
		}
	}
	if cc := string(h.Peek("Cache-Control")); !strings.Contains(cc, "no-store") {
		t.Errorf("Cache-Control is %q, want no-store in it", cc)
	}
	if ct := string(h.ContentType()); ct != "image/gif" {
		t.Errorf("Content-Type is %q", ct)
	}
}

// What is answered to a plain request differs from other answers in nothing, and is made once a second.
func TestServePlain(t *testing.T) {
	t.Parallel()
	w := &witness{}
	h := New(w)
	now := time.Now()
	for n, name := range []string{"TOKEN.gif", "TOKEN", ""} {
		ctx := serve(h, "GET", name)
		ctx.Response.Header.SetContentLength(len(GIF))
		want := dateless(append(ctx.Response.Header.AppendBytes(nil), GIF...))
		kind, text := w.kind, w.text

		got := h.ServePlain(&plain.Request{Time: now}, []byte(name), false)
		if dateless(got) != want {
			t.Errorf("%q: answered\n%q, want\n%q", name, got, want)
		}
		if w.n != 2*n+2 || w.kind != kind || string(w.text) != string(text) {
			t.Errorf("%q: observed %d times %v %q", name, w.n, w.kind, w.text)
		}
	}
	first := h.ServePlain(&plain.Request{Time: now}, nil, false)
	if again := h.ServePlain(&plain.Request{Time: now}, nil, false); &again[0] != &first[0] {
		t.Error("the answer was made anew within a second")
	}
	if later := h.ServePlain(&plain.Request{Time: now.Add(time.Second)}, nil, false); &later[0] == &first[0] {
		t.Error("the answer is of another second")
	}
	last := string(h.ServePlain(&plain.Request{Time: now}, nil, true))
	if !strings.Contains(last, "\r\nConnection: close\r\n") || strings.Contains(string(first), "Connection") {
		t.Errorf("the last answer is %q", last)
	}
}

// dateless is an answer without the one line that may differ.
func dateless(b []byte) string {
	head, rest, _ := strings.Cut(string(b), "Date: ")
	_, rest, _ = strings.Cut(rest, "\r\n")
	return head + rest
}
