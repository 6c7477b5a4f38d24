// Package browsertest gives tests a real Chromium, and what checks pages in it.
package browsertest

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"mailbeacon/internal/engines"
)

// Open starts a browser that says that it is agent ("": Chromium's own name), and ends it with the test. The context is for all
// that the test does in it, within so long. Where there is no Chromium the test is passed over, and fails in CI.
func Open(tb testing.TB, agent string, life time.Duration) context.Context {
	tb.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			tb.Fatal("there is no Chromium")
		}
		tb.Skip("there is no Chromium; `apt-get install chromium`")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(tb.TempDir()))
	if agent != "" {
		options = append(options, chromedp.UserAgent(agent))
	}
	ctx, cancel := chromedp.NewExecAllocator(tb.Context(), options...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(cancel)
	// The first action's context is the browser's life; only later ones may have a bound.
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, life)
	tb.Cleanup(cancel)
	return ctx
}

// axeVersion is of the npm package that checks pages against WCAG.
const axeVersion = "4.14.1"

// Axe returns the source of the checker of pages, which is downloaded once. Where it can't be had the test is passed over, and
// fails in CI.
func Axe(tb testing.TB) string {
	tb.Helper()
	cache, err := engines.Cache()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(cache, "axe-core-"+axeVersion+".js")
	if b, err := os.ReadFile(path); err == nil {
		return string(b)
	}
	work := tb.TempDir()
	npm := exec.CommandContext(tb.Context(), "npm", "pack", "--silent", "--pack-destination", work, "axe-core@"+axeVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			tb.Skipf("axe-core can't be had: %v: %s", err, out)
		}
		tb.Fatalf("npm pack: %v: %s", err, out)
	}
	b, err := unpack(filepath.Join(work, "axe-core-"+axeVersion+".tgz"), "package/axe.min.js")
	if err == nil {
		err = errors.Join(os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path))
	}
	if err != nil {
		tb.Fatalf("axe-core's package: %v", err)
	}
	return string(b)
}

// unpack reads one file of an npm package.
func unpack(path, name string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return nil, err
		}
		if h.Name == name {
			return io.ReadAll(r)
		}
	}
}

// Call sends the browser one command of its protocol.
func Call[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, p)
		return chromedp.Void{}, err
	}
}

// Media sets a feature of the reader's, as prefers-color-scheme.
func Media(features ...*emulation.MediaFeature) chromedp.Action[chromedp.Void] {
	return Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
}

// Scheme sets the colours that the reader prefers, light or dark.
func Scheme(colours string) chromedp.Action[chromedp.Void] {
	return Media(&emulation.MediaFeature{Name: "prefers-color-scheme", Value: colours})
}

// Violations is what the checker finds in the page that is open, a line each; "" if nothing.
func Violations(ctx context.Context, checker string) (string, error) {
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[string](checker+"; axe.version")); err != nil {
		return "", err
	}
	return chromedp.Run(ctx, chromedp.Evaluate[string](
		`axe.run(document).then(r => r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html).join(" ")).join("\n"))`, chromedp.EvalAwaitPromise))
}

// Shoot keeps a screenshot where MAILBEACON_SCREENSHOTS names a folder.
func Shoot(ctx context.Context, tb testing.TB, name string) {
	tb.Helper()
	dir := os.Getenv("MAILBEACON_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
