package report

import (
	"context"
	//lint:ignore SA1019 old packages are signed with it
	"crypto/dsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/key"
)

// A Signature says who signed a package, and whether it is as they signed it.
type Signature struct {
	Verified bool     `json:"verified"`
	MinSDK   int      `json:"min_sdk,omitempty"` // the platforms that it was judged for; 0: the package's
	MaxSDK   int      `json:"max_sdk,omitempty"` // 0: all from there on
	Schemes  []string `json:"schemes"`           // that verify: "v1", "v2", "v3", "v3.1", "v4"
	Signers  []Signer `json:"signers"`           // who counts on the newest platform first
	Stamp    *Stamp   `json:"source_stamp,omitempty"`
	Errors   []Issue  `json:"errors"`
	Warnings []Issue  `json:"warnings"`
}

// A Signer is who signed, in one scheme or several.
type Signer struct {
	Certificate
	Schemes []string   `json:"schemes"`
	Files   []string   `json:"files,omitempty"`   // of v1: "META-INF/CERT.RSA"
	MinSDK  int        `json:"min_sdk,omitempty"` // platforms on which it counts, if not on all
	MaxSDK  int        `json:"max_sdk,omitempty"` // 0: no end
	Current bool       `json:"current"`           // it counts on the newest platform
	Lineage []Ancestor `json:"lineage,omitempty"` // the oldest first, the signer's own last
}

// A Certificate is an X.509 certificate. If it cannot be read, only Digest is
// set.
type Certificate struct {
	Digest    string `json:"certificate_sha256"` // of its DER form, in hexadecimal, as all digests
	Subject   string `json:"subject,omitempty"`
	Serial    string `json:"serial,omitempty"` // hexadecimal
	NotBefore string `json:"not_before,omitempty"`
	NotAfter  string `json:"not_after,omitempty"`
	Key       string `json:"key,omitempty"`        // algorithm and size: "rsa2048", "ecdsa-p256"
	KeyDigest string `json:"key_sha256,omitempty"` // of its SubjectPublicKeyInfo
}

// An Ancestor is a certificate of a lineage.
type Ancestor struct {
	Certificate
	Capabilities []string `json:"capabilities"`
}

// A Stamp is a source stamp.
type Stamp struct {
	Status  apksig.StampStatus `json:"status"`
	Signer  *Certificate       `json:"signer,omitempty"`
	Time    string             `json:"time,omitempty"` // when it was made, as it says
	Lineage []Ancestor         `json:"lineage,omitempty"`
	Issues  []Issue            `json:"issues"`
	Notes   []Issue            `json:"notes"`
}

// An Issue is something wrong, under AOSP's name for it.
type Issue struct {
	Name   string `json:"name"`
	Scheme string `json:"scheme,omitempty"`
	Signer string `json:"signer,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// String gives the name, the signer and the detail in one line.
func (i Issue) String() string {
	return apksig.Issue{Name: i.Name, Signer: i.Signer, Detail: i.Detail}.String()
}

// VerifyOptions say for which platforms a package is to be verified.
type VerifyOptions struct {
	MinSDK, MaxSDK int       // 0: the manifest's; no end
	IDSig          io.Reader // the .idsig file beside the package; nil: none
}

// TodaySDK is the oldest platform, Android 7.0, that heeds JAR signatures only if
// there is none of a newer scheme.
const TodaySDK = 24

// Verify verifies the package in the first size bytes of r. What is wrong with
// its signature stands in the result; an error is of a file that is no package.
func Verify(ctx context.Context, r io.ReaderAt, size int64, o VerifyOptions) (*Signature, error) {
	res, err := apksig.Verify(ctx, r, size, apksig.Options{MinSDK: o.MinSDK, MaxSDK: o.MaxSDK, IDSig: o.IDSig})
	if err != nil {
		return nil, err
	}
	return newSignature(res, o.MinSDK, o.MaxSDK), nil
}

// Malformed is what there is to say of a file that [Verify] finds to be no
// package, by its error, or nil if that is about something else.
func Malformed(err error, o VerifyOptions) *Signature {
	if _, ok := errors.AsType[*apk.FormatError](err); !ok && !errors.Is(err, mios.ErrNotFound) {
		return nil
	}
	return &Signature{
		MinSDK: o.MinSDK, MaxSDK: o.MaxSDK, Schemes: []string{}, Signers: []Signer{}, Warnings: []Issue{},
		Errors: []Issue{{Name: "MALFORMED_APK", Detail: err.Error()}},
	}
}

// verifyToday verifies the opened package, which is for platforms from minSDK on,
// as those of today do: [TodaySDK] and newer.
func verifyToday(ctx context.Context, f *apk.File, p Package, minSDK int) (*Signature, error) {
	least := max(minSDK, TodaySDK)
	res, err := apksig.Verify(ctx, p, p.Size, apksig.Options{MinSDK: least, File: f})
	if err != nil {
		return nil, err
	}
	return newSignature(res, least, 0), nil
}

// newSignature says what verification for those platforms found.
func newSignature(res *apksig.Result, least, most int) *Signature {
	s := &Signature{
		Verified: res.Verified(), MinSDK: least, MaxSDK: most, Schemes: []string{}, Signers: []Signer{},
		Errors: issues(res.Errors), Warnings: issues(res.Warnings), Stamp: stamp(res.Stamp),
	}
	for _, scheme := range []apksig.Scheme{apksig.V1, apksig.V2, apksig.V3, apksig.V31, apksig.V4} {
		if res.VerifiedBy(scheme) {
			s.Schemes = append(s.Schemes, scheme.String())
		}
	}
	current := make(map[string]bool)
	for _, sig := range res.Signers() {
		current[digest(sig.Certificates[0])] = true
	}
	for i := range res.Signatures {
		s.add(&res.Signatures[i])
	}
	for i := range s.Signers {
		s.Signers[i].Current = current[s.Signers[i].Digest]
	}
	slices.SortStableFunc(s.Signers, func(a, b Signer) int { return rank(a) - rank(b) })
	return s
}

func rank(s Signer) int {
	if s.Current {
		return 0
	}
	return 1
}

// add adds a signature to what its certificate signed in other schemes.
func (s *Signature) add(sig *apksig.Signature) {
	d := digest(sig.Certificates[0])
	i := slices.IndexFunc(s.Signers, func(o Signer) bool { return o.Digest == d })
	if i < 0 {
		i = len(s.Signers)
		s.Signers = append(s.Signers, Signer{Certificate: certificate(sig.Certificates[0]), MinSDK: math.MaxInt, MaxSDK: -1})
	}
	who := &s.Signers[i]
	if name := sig.Scheme.String(); !slices.Contains(who.Schemes, name) {
		who.Schemes = append(who.Schemes, name)
	}
	slices.Sort(who.Schemes)
	if sig.Name != "" {
		who.Files = append(who.Files, sig.Name)
	}
	least := sig.MinSDK
	if sig.Scheme == apksig.V3 {
		least = max(least, 28) // older platforms do not look, whatever the block says
	}
	who.MinSDK = min(who.MinSDK, least)
	switch {
	case sig.MaxSDK == 0 || sig.MaxSDK >= math.MaxInt32:
		who.MaxSDK = 0
	case who.MaxSDK != 0:
		who.MaxSDK = max(who.MaxSDK, sig.MaxSDK)
	}
	if list := Lineage(sig.Lineage); len(list) > len(who.Lineage) {
		who.Lineage = list
	}
}

// Lineage describes a lineage; nil is none.
func Lineage(l *apksig.Lineage) []Ancestor {
	if l == nil {
		return nil
	}
	list := make([]Ancestor, l.Len())
	for i, cert := range l.Certificates() {
		list[i] = Ancestor{certificate(cert), l.Capabilities(i).Names()}
		if list[i].Capabilities == nil {
			list[i].Capabilities = []string{}
		}
	}
	return list
}

func stamp(s *apksig.Stamp) *Stamp {
	if s == nil {
		return nil
	}
	out := &Stamp{Status: s.Status, Issues: issues(s.Issues), Notes: issues(s.Notes), Lineage: Lineage(s.Lineage)}
	if len(s.Certificates) > 0 {
		c := certificate(s.Certificates[0])
		out.Signer = &c
	}
	if s.Timestamp != 0 {
		out.Time = time.Unix(s.Timestamp, 0).UTC().Format(time.RFC3339)
	}
	return out
}

func issues(list []apksig.Issue) []Issue {
	out := []Issue{}
	for _, i := range list {
		scheme := ""
		if i.Scheme != 0 {
			scheme = i.Scheme.String()
		}
		out = append(out, Issue{i.Name, scheme, i.Signer, i.Detail})
	}
	return out
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// certificate describes a DER certificate. Android takes some that Go's parser
// refuses: of those the subject and the key are read by themselves.
func certificate(der []byte) Certificate {
	c := Certificate{Digest: digest(der)}
	if parsed, err := x509.ParseCertificate(der); err == nil {
		c.Subject, c.Serial = parsed.Subject.String(), parsed.SerialNumber.Text(16)
		c.NotBefore, c.NotAfter = parsed.NotBefore.UTC().Format(time.RFC3339), parsed.NotAfter.UTC().Format(time.RFC3339)
		c.KeyDigest = digest(parsed.RawSubjectPublicKeyInfo)
		c.Key = keyName(parsed.RawSubjectPublicKeyInfo)
		return c
	}
	var raw struct {
		TBS struct {
			Version   int `asn1:"optional,explicit,default:0,tag:0"`
			Serial    asn1.RawValue
			Algorithm pkix.AlgorithmIdentifier
			Issuer    asn1.RawValue
			Validity  asn1.RawValue
			Subject   pkix.RDNSequence
			Key       asn1.RawValue
			Rest      []asn1.RawValue `asn1:"optional"`
		}
		Algorithm asn1.RawValue
		Signature asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &raw); err == nil {
		c.Subject, c.KeyDigest, c.Key = raw.TBS.Subject.String(), digest(raw.TBS.Key.FullBytes), keyName(raw.TBS.Key.FullBytes)
	}
	return c
}

// keyName names the kind of a key in SubjectPublicKeyInfo.
func keyName(spki []byte) string {
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return ""
	}
	if k, ok := pub.(*dsa.PublicKey); ok {
		return fmt.Sprintf("dsa%d", k.P.BitLen())
	}
	return string(key.AlgorithmOf(pub))
}
