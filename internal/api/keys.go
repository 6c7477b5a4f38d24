package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailbeacon/internal/campaign"
	"mailbeacon/internal/datadir"
)

// Files of the data folder that hold keys.
const (
	// AdminKeyFile holds the key of this machine's own client commands, as it is.
	AdminKeyFile = "admin.key"
	keysFile     = "keys.json"
	keysLock     = "keys.lock"
	keysVersion  = 1
)

// keyPrefix makes a key known for what it is, to people and to scanners for leaked secrets.
const keyPrefix = "mbk_"

// Key is a key in the list: what it is for, and not what it is.
type Key struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Role    Role      `json:"role"`
	// Advertiser is whose report the key sees, where its role is RoleAdvertiser.
	Advertiser string `json:"advertiser,omitempty"`
	Hash       string `json:"sha256"` // of the key, in hex
}

// ErrKeyExists and ErrNoKey come wrapped.
var (
	ErrKeyExists = errors.New("a key of this name exists already")
	ErrNoKey     = errors.New("there is no key of this name")
)

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// newKey makes a key of 256 random bits.
func newKey() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func hashKey(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// EnsureAdminKey makes the data folder's admin key where there is none yet.
func EnsureAdminKey(dir string) (created bool, err error) {
	name := filepath.Join(dir, AdminKeyFile)
	if _, err := os.Lstat(name); err == nil {
		_, err = ReadAdminKey(dir)
		return false, err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for the admin key: %w", err)
	}
	if err := datadir.WriteFile(name, []byte(newKey()+"\n"), 0o600); err != nil {
		return false, fmt.Errorf("make the admin key: %w", err)
	}
	return true, nil
}

// ReadAdminKey reads the data folder's admin key. A file that others can read is refused.
func ReadAdminKey(dir string) (string, error) {
	b, err := readPrivate(filepath.Join(dir, AdminKeyFile))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(b))
	if len(key) < len(keyPrefix)+32 || strings.ContainsAny(key, " \t\r\n") {
		return "", fmt.Errorf("%s holds no key; remove it, and the next start makes a new one", filepath.Join(dir, AdminKeyFile))
	}
	return key, nil
}

// readPrivate reads a file that only its owner may read.
func readPrivate(name string) ([]byte, error) {
	b, err := datadir.ReadPrivate(name, 4<<20)
	if exposed, ok := errors.AsType[*datadir.ExposedError](err); ok {
		return nil, fmt.Errorf("%w, and make new keys if anybody may have read it", exposed)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return b, nil
}

// keyFile is the content of keys.json.
type keyFile struct {
	Version int   `json:"version"`
	Keys    []Key `json:"keys"`
}

func readKeys(dir string) ([]Key, error) {
	name := filepath.Join(dir, keysFile)
	b, err := readPrivate(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if version.Version != keysVersion {
		return nil, fmt.Errorf("%s has version %d, this mailbeacon knows %d", name, version.Version, keysVersion)
	}
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	for i, k := range f.Keys {
		h, err := hex.DecodeString(k.Hash)
		if err != nil || len(h) != sha256.Size || !slices.Contains(Roles, k.Role) || !keyName.MatchString(k.Name) || (k.Role == RoleAdvertiser) != (k.Advertiser != "") {
			return nil, fmt.Errorf("%s is damaged: key %d of %d", name, i+1, len(f.Keys))
		}
	}
	return f.Keys, nil
}

// ListKeys lists the keys that were added to a data folder, oldest first.
func ListKeys(dir string) ([]Key, error) {
	if err := isFolder(dir); err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	return readKeys(dir)
}

// isFolder tells a wrong name of a folder from a folder without keys.
func isFolder(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no data folder %s; name the server's with --data: %w", dir, fs.ErrNotExist)
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("%s is no folder; name the server's data folder with --data", dir)
	}
	return nil
}

// AddKey adds a key and returns it: the only time that anybody sees it. A running server takes it
// within a second or two.
func AddKey(dir, name string, role Role, now time.Time) (key string, err error) {
	if role == RoleAdvertiser {
		return "", errors.New("a key of the role advertiser is of one advertiser, who has to be named")
	}
	return addKey(dir, Key{Name: name, Created: now, Role: role})
}

// AddAdvertiserKey is AddKey for a key that sees what one advertiser is told. Links name advertisers; there need not be one yet.
func AddAdvertiserKey(dir, name, advertiser string, now time.Time) (key string, err error) {
	if err := campaign.CheckAdvertiser(advertiser); err != nil {
		return "", err
	}
	return addKey(dir, Key{Name: name, Created: now, Role: RoleAdvertiser, Advertiser: advertiser})
}

func addKey(dir string, k Key) (key string, err error) {
	name := k.Name
	if !slices.Contains(Roles, k.Role) {
		return "", fmt.Errorf("there is no role %q; a key's is one of %s", k.Role, Roles)
	}
	if !keyName.MatchString(name) {
		return "", errors.New("the key's name is not 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
	}
	key = newKey()
	h := hashKey(key)
	return key, changeKeys(dir, func(keys []Key) ([]Key, error) {
		if slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
			return nil, fmt.Errorf("add key %s: %w", name, ErrKeyExists)
		}
		k.Created, k.Hash = k.Created.UTC().Truncate(time.Second), hex.EncodeToString(h[:])
		return append(keys, k), nil
	})
}

// RevokeKey takes a key away. A running server refuses it within a second or two.
func RevokeKey(dir, name string) error {
	return changeKeys(dir, func(keys []Key) ([]Key, error) {
		rest := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Name == name })
		if len(rest) == len(keys) {
			return nil, fmt.Errorf("revoke key %s: %w", name, ErrNoKey)
		}
		return rest, nil
	})
}

// changeKeys replaces the list under a lock, so that of two changes at once none is lost.
func changeKeys(dir string, change func([]Key) ([]Key, error)) error {
	if err := isFolder(dir); err != nil {
		return fmt.Errorf("change the keys: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, keysLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("change the keys: %w", err)
	}
	defer lock.Close() // gives the lock back
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("change the keys: lock: %w", err)
	}
	keys, err := readKeys(dir)
	if err != nil {
		return err
	}
	if keys, err = change(keys); err != nil {
		return err
	}
	b, err := json.MarshalIndent(keyFile{keysVersion, keys}, "", "  ")
	if err != nil {
		return fmt.Errorf("change the keys: %w", err)
	}
	return datadir.WriteFile(filepath.Join(dir, keysFile), append(b, '\n'), 0o600)
}

// Keys are the keys of a data folder, hashed. They follow the folder's files: added and revoked
// keys count within keysLag.
type Keys struct {
	dir string
	log *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	stamp   string // what the files looked like when they were read
	failing bool
	hashes  []heldHash
}

// heldHash is a key that opens the API, and whose it is.
type heldHash struct {
	Holder
	hash [sha256.Size]byte
}

// adminKeyName is what the data folder's own key is called. No other key can have the name.
const adminKeyName = "(admin.key)"

const keysLag = time.Second

// LoadKeys reads the keys of a data folder. logger gets what goes wrong with the files later on;
// nil is silence.
func LoadKeys(dir string, logger *slog.Logger) (*Keys, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	k := &Keys{dir: dir, log: logger, looked: time.Now(), stamp: stampOf(dir)}
	hashes, err := k.read()
	k.hashes = hashes
	return k, err
}

func (k *Keys) read() ([]heldHash, error) {
	admin, err := ReadAdminKey(k.dir)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(k.dir)
	if err != nil {
		return nil, err
	}
	hashes := []heldHash{{AdminHolder, hashKey(admin)}}
	for _, key := range keys {
		var h [sha256.Size]byte
		if _, err := hex.Decode(h[:], []byte(key.Hash)); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		hashes = append(hashes, heldHash{Holder{key.Name, key.Role, key.Advertiser}, h})
	}
	return hashes, nil
}

// stampOf tells one state of the files from another without reading them.
func stampOf(dir string) string {
	var b strings.Builder
	for _, name := range []string{AdminKeyFile, keysFile} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			b.WriteString("none;")
			continue
		}
		fmt.Fprintf(&b, "%d %d;", st.Size(), st.ModTime().UnixNano())
	}
	return b.String()
}

// Allow implements Authorizer. Where the files can't be read any more, what was read last holds.
func (k *Keys) Allow(key string) (holder Holder, ok bool) {
	given := hashKey(key)
	allowed := 0
	for _, h := range k.current() {
		same := subtle.ConstantTimeCompare(given[:], h.hash[:])
		if same == 1 {
			holder = h.Holder
		}
		allowed |= same
	}
	return holder, allowed == 1
}

func (k *Keys) current() []heldHash { return k.within(keysLag) }

// within is the keys as they were at most so long ago.
func (k *Keys) within(lag time.Duration) []heldHash {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < lag {
		return k.hashes
	}
	k.looked = time.Now()
	stamp := stampOf(k.dir)
	if stamp == k.stamp {
		return k.hashes
	}
	hashes, err := k.read()
	if err != nil {
		if !k.failing {
			k.log.Error("the keys can't be read; those read before still hold", "error", err)
		}
		k.failing = true
		return k.hashes
	}
	k.hashes, k.stamp, k.failing = hashes, stamp, false
	return k.hashes
}
