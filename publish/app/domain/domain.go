// Package domain proves that who signs an app speaks for the domain in the
// app's name: org.example.clock for example.org. It asks the domain for the file
// that Android's app links use already, /.well-known/assetlinks.json (Digital
// Asset Links), which names packages with the SHA-256 of their certificates, and
// where that does not, for a TXT record in its DNS.
package domain

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"mios"
)

// Path is where a domain says which apps are its own.
const Path = "/.well-known/assetlinks.json"

// maxFile bounds that file, in bytes.
const maxFile = 256 << 10

// timeout is for how long a domain may take to answer.
const timeout = 10 * time.Second

// Of returns the domain that a package's name is under: its first two parts the
// other way round. What has fewer has none.
func Of(pkg string) string {
	parts := strings.Split(strings.ToLower(pkg), ".")
	if len(parts) < 2 || strings.Contains(parts[0]+parts[1], "_") {
		return ""
	}
	return parts[1] + "." + parts[0]
}

// Label is before the domain in the name of the TXT records that say which apps
// are its own: _mios-app.example.org. A record is a package and the SHA-256 of a
// certificate in hexadecimal, with a space between: "org.example.clock 0123…".
const Label = "_mios-app"

// Web asks domains over HTTPS and in the DNS. The zero value is ready for use.
type Web struct {
	// Client replaces the one that refuses redirects and addresses inside the
	// operator's own network.
	Client *http.Client
	// Resolver replaces [net.DefaultResolver] for TXT records.
	Resolver *net.Resolver
}

// Prove returns nil if the domain in a package's name says in one of both ways
// that one of the signers, by the SHA-256 of its certificate, may publish it. The
// error wraps [mios.ErrDenied] and says what the domain has to do.
func (w *Web) Prove(ctx context.Context, pkg string, signers []mios.Digest) error {
	host := Of(pkg)
	switch {
	case host == "":
		return fmt.Errorf("package %s: its name has no domain: %w", pkg, mios.ErrDenied)
	case len(signers) == 0:
		return fmt.Errorf("package %s: it has no signer: %w", pkg, mios.ErrDenied)
	}
	b, err := w.get(ctx, "https://"+host+Path)
	if err == nil {
		err = names(b, pkg, signers)
	}
	if err == nil {
		return nil
	}
	name := Label + "." + host
	txtErr := w.txt(ctx, name, pkg, signers)
	if txtErr == nil {
		return nil
	}
	return fmt.Errorf("package %s: %s does not vouch for its signer: %v; %v: %w: name the package and the certificate in https://%s%s, or in a TXT record of %s: %q",
		pkg, host, err, txtErr, mios.ErrDenied, host, Path, name, pkg+" "+signers[0].String())
}

// txt looks for a package with one of the signers in the TXT records of a name.
func (w *Web) txt(ctx context.Context, name, pkg string, signers []mios.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := w.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	list, err := r.LookupTXT(ctx, name+".") // as it is, whatever domain this machine is in
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Errorf("%s has no TXT record", name)
	}
	if err != nil {
		return err
	}
	named := false
	for _, record := range list {
		of, fingerprint, _ := strings.Cut(strings.TrimSpace(record), " ")
		if of != pkg {
			continue
		}
		named = true
		if matches(strings.TrimSpace(fingerprint), signers) {
			return nil
		}
	}
	if named {
		return fmt.Errorf("the TXT records of %s name the package with other certificates", name)
	}
	return fmt.Errorf("no TXT record of %s names the package", name)
}

// matches tells whether a fingerprint, with colons or without, is of a signer.
func matches(fingerprint string, signers []mios.Digest) bool {
	b, err := hex.DecodeString(strings.ReplaceAll(fingerprint, ":", ""))
	return err == nil && slices.ContainsFunc(signers, func(d mios.Digest) bool { return string(b) == string(d[:]) })
}

func (w *Web) get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	c := w.Client
	if c == nil {
		c = outside
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("the file has more than %d bytes", maxFile)
	}
	return b, err
}

// outside reaches public addresses only: a stranger chooses the name.
var outside = &http.Client{
	Transport: &http.Transport{
		DialContext:       (&net.Dialer{Timeout: timeout, Control: public}).DialContext,
		DisableKeepAlives: true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects, which proves nothing") },
}

func public(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := a.Addr().Unmap(); !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("its address %s is not a public one", ip)
	}
	return nil
}

// names looks for a package with one of the signers in a file of statements.
func names(b []byte, pkg string, signers []mios.Digest) error {
	var list []struct {
		Relation []string `json:"relation"`
		Target   struct {
			Namespace    string   `json:"namespace"`
			Package      string   `json:"package_name"`
			Fingerprints []string `json:"sha256_cert_fingerprints"`
		} `json:"target"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("the file cannot be read: %v", err)
	}
	named := false
	for _, s := range list {
		if s.Target.Namespace != "android_app" || s.Target.Package != pkg {
			continue
		}
		named = true
		for _, f := range s.Target.Fingerprints {
			if matches(f, signers) {
				return nil
			}
		}
	}
	if named {
		return errors.New("the file names the package with other certificates")
	}
	return errors.New("the file does not name the package")
}
