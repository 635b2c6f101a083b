package image

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mios"
	"mios/key"
)

// The types below are the part of SPDX 2.3 that the manifest of inputs uses.
type spdxDocument struct {
	Version     string             `json:"spdxVersion"`
	ID          string             `json:"SPDXID"`
	Name        string             `json:"name"`
	Namespace   string             `json:"documentNamespace"`
	DataLicense string             `json:"dataLicense"`
	Creation    spdxCreation       `json:"creationInfo"`
	Packages    []spdxPackage      `json:"packages"`
	Relations   []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID        string         `json:"SPDXID"`
	Name      string         `json:"name"`
	Version   string         `json:"versionInfo"`
	Download  string         `json:"downloadLocation"`
	Analyzed  bool           `json:"filesAnalyzed"`
	Checksums []spdxChecksum `json:"checksums,omitempty"`
	Concluded string         `json:"licenseConcluded"`
	Declared  string         `json:"licenseDeclared"`
	Copyright string         `json:"copyrightText"`
	Comment   string         `json:"comment,omitempty"`
	Refs      []spdxRef      `json:"externalRefs,omitempty"`
}

// A spdxRef names a package as others do: by its package URL.
type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

func purl(format string, args ...any) []spdxRef {
	return []spdxRef{{"PACKAGE-MANAGER", "purl", fmt.Sprintf(format, args...)}}
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRelationship struct {
	Element string `json:"spdxElementId"`
	Related string `json:"relatedSpdxElement"`
	Type    string `json:"relationshipType"`
}

// spdx writes the manifest of every input: the kernel's package, miosd and the
// modules that it was built from, the definition, keys and other files; and of
// the images made of them.
func (b *builder) spdx(m *Manifest) error {
	doc := m.document()
	doc.add(spdxPackage{
		Name: b.Kernel.Package, Version: b.Kernel.Version, Declared: b.Kernel.License,
		Checksums: []spdxChecksum{{"SHA256", b.Kernel.SHA256}},
		Comment:   "Debian package; kernel and modules of boot, system and the loader",
		Refs:      purl("pkg:deb/debian/%s@%s?arch=%s", b.Kernel.Package, b.Kernel.Version, b.Kernel.Arch),
	})
	for _, f := range []struct {
		path string
		data []byte
	}{{b.Miosd, b.miosd}, {b.MiosdRamdisk, b.ramdisk}} {
		if err := doc.addProgram(f.path, f.data); err != nil {
			return err
		}
	}
	if err := b.addFiles(doc, m); err != nil {
		return err
	}
	all := doc.licenses()
	for _, p := range m.Partitions {
		declared := all
		if p.Name == "vbmeta" {
			declared = noLicense
		}
		doc.add(spdxPackage{
			Name: p.File, Version: m.Version, Declared: declared,
			Checksums: []spdxChecksum{{"SHA256", p.SHA256.String()}}, Comment: "an image of this build",
		})
	}
	return doc.write(b.dir, m)
}

// document returns a document without packages.
func (m *Manifest) document() *spdxDocument {
	return &spdxDocument{
		Version: "SPDX-2.3", ID: "SPDXRef-DOCUMENT", DataLicense: "CC0-1.0",
		Name: fmt.Sprintf("%s-%s-%s-%s", m.Product, m.Arch, m.Variant, m.Version),
		Creation: spdxCreation{
			Created:  time.Unix(m.BuildTime, 0).UTC().Format(time.RFC3339),
			Creators: []string{"Tool: mios"},
		},
	}
}

// write writes the document into a build's folder.
func (d *spdxDocument) write(dir string, m *Manifest) error {
	vbmeta := m.Find("vbmeta")
	if vbmeta == nil {
		return fmt.Errorf("the build has no vbmeta image: %w", mios.ErrInvalid)
	}
	d.Namespace = "urn:mios:" + d.Name + ":" + vbmeta.SHA256.String()
	out, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ManifestSPD), append(out, '\n'), 0o644)
}

// noLicense is declared of files that are a vendor's data and not a work: keys
// and configuration.
const noLicense = "NONE"

// addFiles adds the inputs that are the vendor's own.
func (b *builder) addFiles(doc *spdxDocument, m *Manifest) error {
	avbKey, err := b.avbPublicKey()
	if err != nil {
		return err
	}
	otaKey, err := key.MarshalPublic(b.OTAKey)
	if err != nil {
		return err
	}
	files := []struct {
		name, comment string
		data          []byte
	}{
		{"product.yaml", "the product's definition", b.Product.Source},
		{"root.json", "the repository's root of trust", b.Root},
		{"avb_pkmd.bin", "the key that verifies vbmeta", avbKey},
		{"update-payload-key.pub.pem", "the key that verifies payloads", otaKey},
		{"cacerts.pem", "authorities for TLS", b.Product.CACerts},
		{"adb_keys", "keys that adb is authorised with", b.ADBKeys},
	}
	for _, name := range slices.Sorted(maps.Keys(b.Extra)) {
		files = append(files, struct {
			name, comment string
			data          []byte
		}{name, "a file of the product's own", b.Extra[name]})
	}
	for _, f := range files {
		if len(f.data) == 0 {
			continue
		}
		doc.add(spdxPackage{
			Name: f.name, Version: m.Version, Declared: noLicense,
			Checksums: []spdxChecksum{{"SHA256", digestHex(f.data)}}, Comment: f.comment,
		})
	}
	return nil
}

// licenses returns the expression that all packages so far come under.
func (d *spdxDocument) licenses() string {
	var all []string
	for _, p := range d.Packages {
		if p.Declared != noLicense {
			all = append(all, p.Declared)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " AND ")
}

// addProgram adds a Go program and the modules in it.
func (d *spdxDocument) addProgram(path string, data []byte) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	tags := ""
	for _, s := range info.Settings {
		if s.Key == "-tags" || s.Key == "GOARCH" {
			tags += " " + s.Key + "=" + s.Value
		}
	}
	d.add(spdxPackage{
		Name: "miosd", Version: info.Main.Version, Declared: "Apache-2.0",
		Checksums: []spdxChecksum{{"SHA256", digestHex(data)}}, Comment: strings.TrimSpace(info.GoVersion + tags),
	})
	d.add(spdxPackage{Name: "go", Version: info.GoVersion, Declared: "BSD-3-Clause", Comment: "standard library and runtime"})
	for _, dep := range info.Deps {
		d.add(spdxPackage{
			Name: dep.Path, Version: dep.Version, Declared: License(dep.Path),
			Comment: "Go module " + dep.Sum, // h1: is the SHA-256 of the module's file list
			Refs:    purl("pkg:golang/%s@%s", dep.Path, dep.Version),
		})
	}
	return nil
}

// add adds a package once.
func (d *spdxDocument) add(p spdxPackage) {
	for _, q := range d.Packages {
		if q.Name == p.Name && q.Version == p.Version && q.Comment == p.Comment {
			return
		}
	}
	p.ID = fmt.Sprintf("SPDXRef-%d", len(d.Packages)+1)
	p.Download, p.Concluded, p.Copyright = "NOASSERTION", p.Declared, "NOASSERTION"
	if p.Version == "" {
		p.Version = "NOASSERTION"
	}
	d.Packages = append(d.Packages, p)
	d.Relations = append(d.Relations, spdxRelationship{"SPDXRef-DOCUMENT", p.ID, "DESCRIBES"})
}
