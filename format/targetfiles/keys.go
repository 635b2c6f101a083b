package targetfiles

import (
	"fmt"
	"strings"
)

// Names in place of a certificate's path.
const (
	Presigned = "PRESIGNED" // the package's own signature stays
	External  = "EXTERNAL"  // somebody else signs it
)

// Suffixes of the two files of a key that the build names.
const (
	CertificateSuffix = ".x509.pem"
	PrivateKeySuffix  = ".pk8"
)

// An ApkCert is a line of META/apkcerts.txt: which certificate an app of the
// build is signed with.
type ApkCert struct {
	Name        string // file name: "Settings.apk"
	Certificate string // path in the build: "build/make/target/product/security/platform.x509.pem", or Presigned, External
	PrivateKey  string // path in the build, or ""
	Compressed  string // suffix of an app that is installed compressed: "gz"; "" of others
	Partition   string // "system", or "" in old builds
}

// Key returns the path of certificate and private key without suffix, or
// Presigned or External.
func (c *ApkCert) Key() string { return strings.TrimSuffix(c.Certificate, CertificateSuffix) }

// ApkCerts is META/apkcerts.txt.
type ApkCerts struct {
	Certs []ApkCert // in the order of the file
	table *attrTable
}

// ParseApkCerts reads META/apkcerts.txt.
func ParseApkCerts(b []byte) (*ApkCerts, error) {
	t, err := parseAttrTable(b, "META/apkcerts.txt", []string{"name", "certificate", "private_key"}, []string{"compressed", "partition"})
	if err != nil {
		return nil, err
	}
	c := &ApkCerts{table: t}
	for _, r := range t.rows {
		a := ApkCert{r.get("name"), r.get("certificate"), r.get("private_key"), r.get("compressed"), r.get("partition")}
		if err := checkPair(a.Certificate, a.PrivateKey); err != "" {
			return nil, &FormatError{t.file, r.off, a.Name + ": " + err}
		}
		c.Certs = append(c.Certs, a)
	}
	return c, nil
}

// Find returns the line of an app by its file name, or nil. Of several the last
// counts.
func (c *ApkCerts) Find(name string) *ApkCert {
	for i := len(c.Certs) - 1; i >= 0; i-- {
		if c.Certs[i].Name == name {
			return &c.Certs[i]
		}
	}
	return nil
}

// Bytes returns the file: lines whose ApkCert was not changed as they were, new
// ones at the end.
func (c *ApkCerts) Bytes() []byte {
	rows := make([][]string, len(c.Certs))
	for i, a := range c.Certs {
		rows[i] = []string{a.Name, a.Certificate, a.PrivateKey, a.Compressed, a.Partition}
	}
	return c.table.bytes(rows)
}

// An ApexKey is a line of META/apexkeys.txt: the two keys of an APEX.
type ApexKey struct {
	Name                 string // file name: "com.android.tzdata.apex"
	PublicKey            string // payload, path in the build: ".../com.android.tzdata.avbpubkey", or Presigned
	PrivateKey           string // payload: ".../com.android.tzdata.pem", or Presigned
	ContainerCertificate string // ".../com.android.tzdata.x509.pem", or Presigned
	ContainerPrivateKey  string // ".../com.android.tzdata.pk8", or Presigned
	Partition            string // or "" in old builds
	SignTool             string // a tool of the build for what is inside; or ""
}

// ContainerKey returns the path of the container's certificate and private key
// without suffix, or Presigned.
func (k *ApexKey) ContainerKey() string {
	return strings.TrimSuffix(k.ContainerCertificate, CertificateSuffix)
}

// ApexKeys is META/apexkeys.txt.
type ApexKeys struct {
	Keys  []ApexKey // in the order of the file
	table *attrTable
}

// ParseApexKeys reads META/apexkeys.txt.
func ParseApexKeys(b []byte) (*ApexKeys, error) {
	t, err := parseAttrTable(b, "META/apexkeys.txt",
		[]string{"name", "public_key", "private_key", "container_certificate", "container_private_key"}, []string{"partition", "sign_tool"})
	if err != nil {
		return nil, err
	}
	k := &ApexKeys{table: t}
	for _, r := range t.rows {
		a := ApexKey{
			r.get("name"), r.get("public_key"), r.get("private_key"),
			r.get("container_certificate"), r.get("container_private_key"), r.get("partition"), r.get("sign_tool"),
		}
		if err := checkPair(a.ContainerCertificate, a.ContainerPrivateKey); err != "" {
			return nil, &FormatError{t.file, r.off, a.Name + ": container: " + err}
		}
		k.Keys = append(k.Keys, a)
	}
	return k, nil
}

// Find returns the line of an APEX by its file name, .capex counting as .apex,
// or nil. Of several the last counts.
func (k *ApexKeys) Find(name string) *ApexKey {
	if base, ok := strings.CutSuffix(name, ".capex"); ok {
		name = base + ".apex"
	}
	for i := len(k.Keys) - 1; i >= 0; i-- {
		if k.Keys[i].Name == name {
			return &k.Keys[i]
		}
	}
	return nil
}

// Bytes returns the file: lines whose ApexKey was not changed as they were, new
// ones at the end.
func (k *ApexKeys) Bytes() []byte {
	rows := make([][]string, len(k.Keys))
	for i, a := range k.Keys {
		rows[i] = []string{a.Name, a.PublicKey, a.PrivateKey, a.ContainerCertificate, a.ContainerPrivateKey, a.Partition, a.SignTool}
	}
	return k.table.bytes(rows)
}

// checkPair says why a certificate and a private key are not of one key
// (common.py, ReadApkCerts), or "".
func checkPair(cert, key string) string {
	if cert == Presigned || cert == External {
		if key != "" && key != cert {
			return fmt.Sprintf("%s with the private key %s", cert, key)
		}
		return ""
	}
	c, okC := strings.CutSuffix(cert, CertificateSuffix)
	k, okK := strings.CutSuffix(key, PrivateKeySuffix)
	if !okC || !okK || c != k {
		return fmt.Sprintf("certificate %q and private key %q are not X%s and X%s", cert, key, CertificateSuffix, PrivateKeySuffix)
	}
	return ""
}
