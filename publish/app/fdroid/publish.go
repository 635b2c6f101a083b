package fdroid

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"iter"
	"time"

	"mios"
	"mios/storage/tree"
)

// A Config says whose repository it is.
type Config struct {
	Tree tree.Tree
	Key  crypto.Signer // RSA; key role "fdroid"
	// Certificate is what clients know the repository by: DER, self-signed, of
	// the key. Nil is that of [Certificate].
	Certificate []byte

	Name        Text
	Description Text
	Icon        []byte   // PNG; nil: none
	Address     string   // URL of the folder: "https://example.org/apps"
	Mirrors     []string // URLs of the same folder elsewhere
	WebBase     string   // URL that a package's name is appended to; "": none

	Categories   map[string]Group // those without one get their own name
	AntiFeatures map[string]Group
	Channels     map[string]Group // release channels
	Install      []string         // packages that clients shall install
	Uninstall    []string         // or remove

	// Time is that of the indexes. One that is not later than that of the
	// indexes in the tree becomes a millisecond later than theirs: clients take
	// no index that is not newer than what they have.
	Time time.Time
}

// A Group is something that apps are in.
type Group struct {
	Name, Description Text
	Icon              Images
}

// A Result is what was published.
type Result struct {
	Time     time.Time // of the newest indexes
	Index    File      // index-v2
	Packages int
	Changed  bool // false: all was there already
	Diffs    int  // from older indexes
	Removed  int  // files of long ago
}

// Publish writes the indexes of all apps, which come in ascending order of
// their packages and do not change afterwards, and moves the pointers to them.
// If nothing has changed since the last time, it makes sure that the pointers
// are where they should be. A client sees the old repository or the new one,
// never half of it. Several processes may call it; the error of one that was
// overtaken wraps [mios.ErrConflict].
//
// It reads apps once. Memory is bounded by some hundred apps, some hundred bytes
// a package, and the packed index-v1.jar, which moves as one pointer.
func Publish(ctx context.Context, c Config, apps iter.Seq2[*App, error]) (*Result, error) {
	r, err := c.publish(ctx, apps)
	if err != nil {
		return nil, fmt.Errorf("publish the F-Droid repository: %w", err)
	}
	return r, nil
}

func (c *Config) publish(ctx context.Context, apps iter.Seq2[*App, error]) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	h, before, err := readHistory(ctx, c.Tree)
	if err != nil {
		return nil, err
	}
	icon, err := c.storeIcon(ctx)
	if err != nil {
		return nil, err
	}
	millis := max(c.Time.UnixMilli(), h.newest()+1)
	b, err := encode(ctx, apps, c.headV1(icon, millis))
	if err != nil {
		return nil, err
	}
	defer b.close()
	content := c.content(icon, b)
	if ok, err := c.unchanged(ctx, h, content); err != nil {
		return nil, err
	} else if ok {
		newest := &h.Records[0]
		return &Result{Time: time.UnixMilli(newest.Time), Index: newest.Index, Packages: newest.Packages, Diffs: len(newest.Diffs)}, nil
	}
	p := &publication{Config: c, body: b, old: h, before: before, icon: icon}
	p.record.Time, p.record.Packages = millis, len(b.list.items)
	p.next.Content = content
	return p.run(ctx)
}

// check refuses what clients would refuse.
func (c *Config) check() error {
	pub, ok := c.Key.Public().(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("a key of type %T: %w: F-Droid's clients want RSA; take the key of role fdroid", c.Key.Public(), mios.ErrInvalid)
	}
	if c.Certificate == nil {
		der, err := Certificate(c.Key)
		if err != nil {
			return err
		}
		c.Certificate = der
	}
	cert, err := x509.ParseCertificate(c.Certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w: %v", mios.ErrInvalid, err)
	}
	if !pub.Equal(cert.PublicKey) {
		return fmt.Errorf("certificate %s is not of the key: %w: give the one that belongs to it", cert.Subject, mios.ErrInvalid)
	}
	if link(c.Address) == "" {
		return fmt.Errorf("address %q: %w: give the URL that clients reach the folder %s by, as https://example.org/%s", c.Address, mios.ErrInvalid, Folder, Folder)
	}
	if c.Name.empty() {
		return fmt.Errorf("the repository has no name: %w: give one", mios.ErrInvalid)
	}
	for _, m := range c.Mirrors {
		if link(m) == "" {
			return fmt.Errorf("mirror %q: %w: give a URL, as https://example.org/%s", m, mios.ErrInvalid, Folder)
		}
	}
	return nil
}

// storeIcon stores the repository's own icon, if it has one.
func (c *Config) storeIcon(ctx context.Context) (*File, error) {
	if c.Icon == nil {
		return nil, nil
	}
	sum := mios.Sum(c.Icon)
	f := &File{Name: iconFolder + sum.String() + ".repo.png", Digest: sum, Size: int64(len(c.Icon))}
	return f, c.create(ctx, f.Name, c.Icon)
}

// Address returns what people give a client to follow the repository: its
// address with the fingerprint of its certificate, and with a scheme that opens
// F-Droid's client.
func Address(c *Config) (string, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	scheme, rest := "fdroidrepos", c.Address[len("https"):]
	if c.Address[:5] != "https" {
		scheme, rest = "fdroidrepo", c.Address[len("http"):]
	}
	return fmt.Sprintf("%s%s?fingerprint=%X", scheme, rest, [32]byte(mios.Sum(c.Certificate))), nil
}

// unchanged reports whether the newest indexes say the same, and all pointers
// are theirs.
func (c *Config) unchanged(ctx context.Context, h *history, content mios.Digest) (bool, error) {
	if len(h.Records) == 0 || h.Content != content {
		return false, nil
	}
	for name, want := range h.Pointers {
		b, err := c.pointer(ctx, name)
		if err != nil {
			return false, err
		}
		if mios.Sum(b) != want {
			return false, nil
		}
	}
	return true, nil
}

// content is the SHA-256 of all that the indexes say but their time, and of who
// signs them.
func (c *Config) content(icon *File, b *body) mios.Digest {
	d := newDigester()
	for _, part := range [][]byte{c.Certificate, c.headV1(icon, 0), c.repoV2(icon, 0, b.categories)} {
		sum := mios.Sum(part)
		d.Write(sum[:])
	}
	b.list.repo = 0
	d.Write(b.list.bytes())
	sum := b.v1Sum.sum()
	d.Write(sum[:])
	return d.sum()
}

// index returns the whole of index-v2, to be read once, and by places.
func (b *body) index(repo []byte) (io.Reader, io.ReaderAt, error) {
	packages, err := b.v2.reader()
	if err != nil {
		return nil, nil, err
	}
	head := []byte(indexHead + string(repo) + indexPackages)
	return io.MultiReader(newReader(head), packages, newReader([]byte(indexTail))), &joined{head, packages}, nil
}
