package api_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbeacon/internal/api"
)

func TestAdminKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made, err := api.EnsureAdminKey(dir)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	first, err := api.ReadAdminKey(dir)
	must(t, err)
	if made, err := api.EnsureAdminKey(dir); err != nil || made {
		t.Error(made, err)
	}
	again, err := api.ReadAdminKey(dir)
	if err != nil || again != first || !strings.HasPrefix(first, "mbk_") || len(first) < 40 {
		t.Errorf("%q %q %v", first, again, err)
	}
	if st, err := os.Stat(filepath.Join(dir, api.AdminKeyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

func TestAddListRevoke(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	key, err := api.AddKey(dir, "mailer", api.RoleSender, now)
	must(t, err)
	if _, err := api.AddKey(dir, "mailer", api.RoleSender, now); !errors.Is(err, api.ErrKeyExists) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"", "Mailer", "a b", "-x", strings.Repeat("x", 65), "anna@example.com"} {
		if _, err := api.AddKey(dir, name, api.RoleSender, now); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	keys, err := api.ListKeys(dir)
	if err != nil || len(keys) != 1 || keys[0].Name != "mailer" || !keys[0].Created.Equal(now) || keys[0].Role != api.RoleSender {
		t.Errorf("%+v %v", keys, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "keys.json"))
	must(t, err)
	if strings.Contains(string(content), key) || strings.Contains(string(content), strings.TrimPrefix(key, "mbk_")[:12]) {
		t.Errorf("the key itself is kept:\n%s", content)
	}
	must(t, api.RevokeKey(dir, "mailer"))
	if err := api.RevokeKey(dir, "mailer"); !errors.Is(err, api.ErrNoKey) {
		t.Errorf("%v", err)
	}
	if keys, err := api.ListKeys(dir); err != nil || len(keys) != 0 {
		t.Errorf("%+v %v", keys, err)
	}
}

func TestKeysAddedAtTheSameTimeAreAllThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var adding sync.WaitGroup
	for i := range 20 {
		adding.Go(func() {
			if _, err := api.AddKey(dir, string(rune('a'+i)), api.RoleSender, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if keys, err := api.ListKeys(dir); err != nil || len(keys) != 20 {
		t.Errorf("%d %v", len(keys), err)
	}
}

func TestKeysFollowTheirFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := api.EnsureAdminKey(dir)
	must(t, err)
	admin, err := api.ReadAdminKey(dir)
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		var log sink
		keys, err := api.LoadKeys(dir, newLogger(&log))
		must(t, err)
		allowed := func(key string, want bool) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond)
			if _, ok := keys.Allow(key); ok != want {
				t.Errorf("allowed: %v", !want)
			}
		}
		allowed(admin, true)
		allowed("", false)
		key, err := api.AddKey(dir, "mailer", api.RoleSender, time.Now())
		must(t, err)
		allowed(key, true)
		allowed(admin, true)
		must(t, os.WriteFile(filepath.Join(dir, "keys.json"), []byte("{"), 0o600))
		allowed(key, true)
		allowed(admin, true)
		if n := strings.Count(log.String(), "still hold"); n != 1 {
			t.Errorf("said %d times:\n%s", n, &log)
		}
		must(t, os.Remove(filepath.Join(dir, "keys.json")))
		allowed(key, false)
		allowed(admin, true)
	})
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, content string
		mode          os.FileMode
		want          string
	}{
		"admin key for all":   {api.AdminKeyFile, "mbk_" + strings.Repeat("x", 43), 0o644, "can be read or written by others"},
		"admin key of nobody": {api.AdminKeyFile, "", 0o600, "holds no key"},
		"two admin keys":      {api.AdminKeyFile, strings.Repeat("x", 50) + "\n" + strings.Repeat("y", 50), 0o600, "holds no key"},
		"keys for all":        {"keys.json", `{"version":1,"keys":[]}`, 0o640, "can be read or written by others"},
		"newer":               {"keys.json", `{"version":2,"keys":[]}`, 0o600, "version 2"},
		"cut off":             {"keys.json", `{"version":1,"keys":[`, 0o600, "is damaged"},
		"unknown field":       {"keys.json", `{"version":1,"keys":[],"x":1}`, 0o600, "is damaged"},
		"unknown role":        {"keys.json", `{"version":1,"keys":[{"name":"a","role":"god","sha256":"` + strings.Repeat("00", 32) + `"}]}`, 0o600, "is damaged: key 1 of 1"},
		"short hash":          {"keys.json", `{"version":1,"keys":[{"name":"a","role":"admin","sha256":"00"}]}`, 0o600, "is damaged: key 1 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := api.EnsureAdminKey(dir)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), c.mode))
			must(t, os.Chmod(filepath.Join(dir, c.file), c.mode))
			if _, err := api.LoadKeys(dir, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAnAddedKeyOpensARunningServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key, err := api.AddKey(h.dir, "mailer", api.RoleSender, time.Now())
	must(t, err)
	h.awaitKey(t, key)
}

// awaitKey waits until the server takes a key that was added.
func (h *house) awaitKey(t *testing.T, key string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); h.do(t, http.MethodGet, "/v1", nil, "Authorization", "Bearer "+key).status == http.StatusUnauthorized; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the key is not taken")
		}
	}
}

// TestMarks: a mark holds for the key that it was made of, and no longer: not for another of the same name, nor for one that
// was taken away, and that at once.
func TestMarks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := api.EnsureAdminKey(dir)
	must(t, err)
	key, err := api.AddKey(dir, "ann", api.RoleMarketer, time.Now())
	must(t, err)
	keys, err := api.LoadKeys(dir, nil)
	must(t, err)
	who, mark, ok := keys.Identify(key)
	if !ok || who != (api.Holder{Name: "ann", Role: api.RoleMarketer}) || strings.Contains(key, mark) {
		t.Fatalf("%+v %q %v", who, mark, ok)
	}
	if _, _, ok := keys.Identify(key + "x"); ok {
		t.Error("another key was taken for it")
	}
	held := func(name, mark string, want bool) {
		t.Helper()
		if h, ok := keys.Held(name, mark); ok != want || ok && h != who {
			t.Errorf("held: %+v %v, want %v", h, ok, want)
		}
	}
	held("ann", mark, true)
	held("ann", "", false)
	held("bob", mark, false)
	admin, ok := keys.Mark(api.AdminHolder.Name)
	if !ok || admin == mark {
		t.Errorf("%q %v", admin, ok)
	}
	held("ann", admin, false)
	must(t, api.RevokeKey(dir, "ann"))
	held("ann", mark, false)
	_, err = api.AddKey(dir, "ann", api.RoleMarketer, time.Now())
	must(t, err)
	held("ann", mark, false)
	if now, ok := keys.Mark("ann"); !ok || now == mark {
		t.Errorf("the new key has the mark of the old one")
	}
}

func TestSignInLink(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var link api.SignInLink
	good(t, h.do(t, http.MethodPost, "/v1/sign-in-links", nil), http.StatusCreated, &link)
	if link.Path != "/sign-in/link/of-"+api.AdminHolder.Name || link.Expires.IsZero() {
		t.Errorf("%+v", link)
	}
}
