package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mios/build/ota"
	"mios/format/payload"
	"mios/internal/progress"
)

var otaInspect = command{"ota inspect", "[flags] UPDATE", "tell what an update brings, and how\n" +
	"UPDATE is a payload.bin, the folder of one, or an OTA zip. Nothing is verified: see mios ota verify.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		u, err := ota.Open(fs.Arg(0))
		if err != nil {
			return err
		}
		defer u.Close()
		d := describeUpdate(u)
		if *asJSON {
			return printJSON(e, d)
		}
		d.print(newPage(e.stdout))
		return nil
	}}

// An updatePage is what ota inspect tells.
type updatePage struct {
	File               string           `json:"file"`
	Size               int64            `json:"size"` // of the payload, bytes
	Kind               string           `json:"kind"` // full, delta
	Partial            bool             `json:"partial_update"`
	MinorVersion       uint32           `json:"minor_version"`
	MaxTimestamp       int64            `json:"max_timestamp"`
	SecurityPatch      string           `json:"security_patch_level,omitempty"`
	BlockSize          uint64           `json:"block_size"`
	MetadataSize       int64            `json:"metadata_size"`
	MetadataHash       string           `json:"metadata_sha256"`
	MetadataSignatures []int            `json:"metadata_signatures"` // bytes of each
	PayloadSignatures  []int            `json:"payload_signatures"`
	Partitions         []partitionPage  `json:"partitions"`
	Dynamic            *dynamicPage     `json:"dynamic_partitions,omitempty"`
	Apexes             []apexPage       `json:"apexes,omitempty"`
	Package            *packagePage     `json:"package,omitempty"`
	Operations         []operationsPage `json:"operations"`
}

type operationsPage struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"` // that they write
	Data  uint64 `json:"data"`  // that the payload has for it, in bytes
}

type partitionPage struct {
	Name            string           `json:"name"`
	Version         string           `json:"version,omitempty"`
	OldSize         uint64           `json:"old_size,omitempty"`
	OldSHA256       string           `json:"old_sha256,omitempty"`
	Size            uint64           `json:"size"`
	SHA256          string           `json:"sha256"`
	Data            uint64           `json:"data"`
	Operations      []operationsPage `json:"operations"`
	HashTree        uint64           `json:"hash_tree,omitempty"` // bytes that the device computes
	FEC             uint64           `json:"fec,omitempty"`
	PostInstall     string           `json:"postinstall,omitempty"`
	EstimateCowSize uint64           `json:"estimate_cow_size,omitempty"`
	EstimateCowOps  uint64           `json:"estimate_op_count_max,omitempty"`
	MergeOperations int              `json:"merge_operations,omitempty"`
}

type dynamicPage struct {
	Groups      []groupPage `json:"groups"`
	Snapshots   bool        `json:"snapshot_enabled"`
	VABC        bool        `json:"vabc_enabled"`
	Compression string      `json:"vabc_compression_param,omitempty"`
	CowVersion  uint32      `json:"cow_version,omitempty"`
	Factor      uint64      `json:"compression_factor,omitempty"`
	Threaded    bool        `json:"vabc_threaded,omitempty"`
	BatchWrites bool        `json:"vabc_batch_writes,omitempty"`
}

type groupPage struct {
	Name       string   `json:"name"`
	Size       uint64   `json:"size"`
	Partitions []string `json:"partitions"`
}

type apexPage struct {
	Package string `json:"package"`
	Version int64  `json:"version"`
}

type packagePage struct {
	Type          string            `json:"type"`
	Device        []string          `json:"device"`
	From          []string          `json:"from,omitempty"`
	To            []string          `json:"to"`
	Timestamp     int64             `json:"timestamp"`
	SecurityPatch string            `json:"security_patch_level"`
	Wipe          bool              `json:"wipe"`
	Downgrade     bool              `json:"downgrade"`
	PayloadOffset int64             `json:"payload_offset"`
	CareMap       []string          `json:"care_map,omitempty"`
	Properties    map[string]string `json:"properties"`
}

func describeUpdate(u *ota.Update) *updatePage {
	m := u.Metadata.Manifest
	d := &updatePage{
		File: u.Path, Size: u.Size, Kind: "full", Partial: m.PartialUpdate, MinorVersion: m.MinorVersion,
		MaxTimestamp: m.MaxTimestamp, SecurityPatch: m.SecurityPatch, BlockSize: m.Block(),
		MetadataSize: u.Metadata.SignedSize(), MetadataHash: fmt.Sprintf("%x", u.Metadata.Hash()),
		MetadataSignatures: signatureSizes(u.Metadata.Signatures), PayloadSignatures: signatureSizes(payloadSignatures(u)),
	}
	if madeFromOlder(m, nil) {
		d.Kind = "delta"
	}
	total := map[payload.OpType]operationsPage{}
	for i := range m.Partitions {
		d.Partitions = append(d.Partitions, describePartition(&m.Partitions[i], m.Block(), total))
	}
	d.Operations = byType(total)
	if x := m.Dynamic; x != nil {
		d.Dynamic = &dynamicPage{Snapshots: x.SnapshotEnabled, VABC: x.VABCEnabled, Compression: x.VABCCompressionParam, CowVersion: x.CowVersion, Factor: x.CompressionFactor}
		for _, g := range x.Groups {
			d.Dynamic.Groups = append(d.Dynamic.Groups, groupPage{g.Name, g.Size, g.Partitions})
		}
		if f := x.VABCFeatures; f != nil {
			d.Dynamic.Threaded, d.Dynamic.BatchWrites = f.Threaded, f.BatchWrites
		}
	}
	for _, a := range m.Apexes {
		d.Apexes = append(d.Apexes, apexPage{a.Package, a.Version})
	}
	d.Package = describePackage(u)
	return d
}

func describePackage(u *ota.Update) *packagePage {
	p := u.Package
	if p == nil {
		return nil
	}
	out := &packagePage{PayloadOffset: p.PayloadOffset, Properties: propertyMap(p.Properties), Type: p.Value("ota-type")}
	if m := p.Metadata; m != nil {
		out.Device, out.From, out.To = m.Precondition.Device, m.Precondition.Build, m.Postcondition.Build
		out.Timestamp, out.SecurityPatch = m.Postcondition.Timestamp, m.Postcondition.SecurityPatch
		out.Wipe, out.Downgrade = m.Wipe, m.Downgrade
	}
	if p.CareMap != nil {
		for _, c := range p.CareMap.Partitions {
			out.CareMap = append(out.CareMap, c.Name)
		}
	}
	return out
}

func describePartition(p *payload.Partition, block uint64, total map[payload.OpType]operationsPage) partitionPage {
	d := partitionPage{Name: p.Name, Version: p.Version, EstimateCowSize: p.EstimateCowSize, EstimateCowOps: p.EstimateOpCountMax, MergeOperations: len(p.MergeOperations)}
	if i := p.OldInfo; i != nil {
		d.OldSize, d.OldSHA256 = i.Size, fmt.Sprintf("%x", i.Hash)
	}
	if i := p.NewInfo; i != nil {
		d.Size, d.SHA256 = i.Size, fmt.Sprintf("%x", i.Hash)
	}
	if x := p.HashTreeExtent; x != nil {
		d.HashTree = x.NumBlocks * block
	}
	if x := p.FECExtent; x != nil {
		d.FEC = x.NumBlocks * block
	}
	if p.RunPostinstall {
		d.PostInstall = p.PostinstallPath
	}
	types := map[payload.OpType]operationsPage{}
	for i := range p.Operations {
		op := &p.Operations[i]
		d.Data += op.DataLength
		for _, to := range []map[payload.OpType]operationsPage{types, total} {
			t := to[op.Type]
			t.Count, t.Data = t.Count+1, t.Data+op.DataLength
			for _, x := range op.DstExtents {
				t.Bytes += x.NumBlocks * block
			}
			to[op.Type] = t
		}
	}
	d.Operations = byType(types)
	return d
}

// byType lists operations in the order of their numbers.
func byType(types map[payload.OpType]operationsPage) (out []operationsPage) {
	var keys []payload.OpType
	for t := range types {
		keys = append(keys, t)
	}
	slices.Sort(keys)
	for _, t := range keys {
		page := types[t]
		page.Type = t.String()
		out = append(out, page)
	}
	return out
}

// payloadSignatures reads the signatures at the payload's end, nil if there are
// none that can be read.
func payloadSignatures(u *ota.Update) *payload.Signatures {
	m := u.Metadata.Manifest
	if m.SignaturesSize == 0 {
		return nil
	}
	b, err := io.ReadAll(io.NewSectionReader(u.Payload, u.Metadata.Size()+int64(m.SignaturesOffset), int64(m.SignaturesSize)))
	if err != nil {
		return nil
	}
	s, err := payload.DecodeSignatures(b)
	if err != nil {
		return nil
	}
	return s
}

func signatureSizes(s *payload.Signatures) []int {
	out := []int{}
	if s == nil {
		return out
	}
	for _, sig := range s.Signatures {
		n := len(sig.Data)
		if sig.UnpaddedSize > 0 {
			n = min(n, int(sig.UnpaddedSize))
		}
		out = append(out, n)
	}
	return out
}

func (d *updatePage) print(p *page) {
	kind := d.Kind + " update"
	if d.Partial {
		kind += " of some partitions"
	}
	p.line("%s: %s, %s", d.File, kind, progress.Size(d.Size))
	if built := time.Unix(d.MaxTimestamp, 0).UTC(); d.MaxTimestamp != 0 {
		p.fact("build of", "%s", built.Format("2006-01-02 15:04:05 UTC"))
	} else {
		p.fact("build of", "a time that it does not say")
	}
	if d.SecurityPatch != "" {
		p.fact("security patch", "%s", d.SecurityPatch)
	}
	p.fact("minor version", "%d", d.MinorVersion)
	p.fact("metadata", "%d bytes, SHA-256 %s", d.MetadataSize, d.MetadataHash)
	p.fact("signatures", "metadata %s, payload %s", signatureWords(d.MetadataSignatures), signatureWords(d.PayloadSignatures))
	if d.Package != nil {
		d.Package.print(p)
	}
	for _, part := range d.Partitions {
		part.print(p)
	}
	if len(d.Partitions) > 1 {
		p.section("all partitions")
		printOperations(p, d.Operations)
	}
	if x := d.Dynamic; x != nil {
		p.section("dynamic partitions")
		for _, g := range x.Groups {
			p.fact(g.Name, "%s of super: %s", progress.Size(int64(g.Size)), strings.Join(g.Partitions, " "))
		}
		if x.Snapshots {
			words := "snapshots"
			if x.VABC {
				words += fmt.Sprintf(", compressed with %s, COW version %d", x.Compression, x.CowVersion)
			}
			p.fact("virtual A/B", "%s", words)
		}
	}
	if len(d.Apexes) > 0 {
		p.fact("compressed APEX", "%d", len(d.Apexes))
	}
}

func signatureWords(sizes []int) string {
	if len(sizes) == 0 {
		return "none"
	}
	var words []string
	for _, n := range sizes {
		words = append(words, fmt.Sprintf("%d bits", 8*n))
	}
	return strings.Join(words, " and ")
}

func (k *packagePage) print(p *page) {
	p.section("package %s", k.Type)
	p.fact("for", "%s", strings.Join(k.Device, " "))
	if len(k.From) > 0 {
		p.fact("from", "%s", strings.Join(k.From, " "))
	}
	if len(k.To) > 0 {
		p.fact("to", "%s", strings.Join(k.To, " "))
	}
	p.fact("payload at", "%d", k.PayloadOffset)
	if len(k.CareMap) > 0 {
		p.fact("care map", "%s", strings.Join(k.CareMap, " "))
	}
	if k.Wipe {
		p.fact("wipes", "user data")
	}
	if k.Downgrade {
		p.fact("downgrade", "the build that it brings is older")
	}
}

func (d *partitionPage) print(p *page) {
	p.section("partition %s", d.Name)
	if d.OldSHA256 != "" {
		p.fact("from", "%s, SHA-256 %s", progress.Size(int64(d.OldSize)), d.OldSHA256)
	}
	p.fact("to", "%s, SHA-256 %s", progress.Size(int64(d.Size)), d.SHA256)
	if d.Version != "" {
		p.fact("version", "%s", d.Version)
	}
	printOperations(p, d.Operations)
	if d.HashTree+d.FEC > 0 {
		p.fact("computed", "hash tree %s, FEC %s", progress.Size(int64(d.HashTree)), progress.Size(int64(d.FEC)))
	}
	if d.EstimateCowSize > 0 {
		p.fact("COW, estimated", "%s, %d operations", progress.Size(int64(d.EstimateCowSize)), d.EstimateCowOps)
	}
	if d.MergeOperations > 0 {
		p.fact("merges", "%d", d.MergeOperations)
	}
	if d.PostInstall != "" {
		p.fact("runs", "%s", d.PostInstall)
	}
}

func printOperations(p *page, list []operationsPage) {
	for _, o := range list {
		words := fmt.Sprintf("%6d write %s", o.Count, progress.Size(int64(o.Bytes)))
		if o.Data > 0 {
			words += " with " + progress.Size(int64(o.Data))
		}
		lead := fmt.Sprintf("  %-16s ", o.Type) // LZ4DIFF_PUFFDIFF
		p.wrap(lead, len(lead), []string{words})
	}
}
