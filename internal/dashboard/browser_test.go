package dashboard

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestShots is for a person's eye.
func TestShots(t *testing.T) {
	dir := os.Getenv("MAILBEACON_SCREENSHOTS")
	if dir == "" {
		t.Skip("MAILBEACON_SCREENSHOTS names no folder")
	}
	w := newWorld(t)
	w.season(t, 60)
	w.consents(t, 12345)
	w.sys = System{&Spool{true, 8 << 20, 3, 40 * time.Second, 0, 1}, &Fold{Waiting: 1200, Held: 800, LastCommit: now.Add(-time.Second)}, &Control{Position: 4711, LastContact: now.Add(-time.Second)}}
	s := httptest.NewServer(w.mux)
	defer s.Close()
	path, err := exec.LookPath("chromium")
	must(t, err)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	for name, address := range map[string]string{"campaigns": "/campaigns", "campaign": "/campaigns/letter-054", "compare": "/compare", "consent": "/consent", "system": "/system", "notfound": "/campaigns/none"} {
		for _, colours := range []string{"light", "dark"} {
			for _, width := range []int64{360, 1280} {
				must(t, chromedp.Do(ctx, scheme(colours), chromedp.EmulateViewport(width, 900), chromedp.Navigate(s.URL+address)))
				png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, colours, width)), png, 0o600))
			}
		}
	}
}

func scheme(colours string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}})
		return chromedp.Void{}, err
	}
}
