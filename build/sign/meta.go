package sign

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"mios/format/avb"
	"mios/format/sparse"
	"mios/format/targetfiles"
	"mios/internal/protowire"
)

// remakeMeta rewrites the files of META that name keys, or say what is in images.
func (s *signing) remakeMeta() error {
	if s.src.Layout == targetfiles.Images {
		return nil
	}
	for _, m := range []struct {
		name string
		make func(old []byte) ([]byte, error)
	}{
		{targetfiles.MiscInfo, s.miscInfo}, {targetfiles.ApkCertsName, s.apkCerts},
		{targetfiles.ApexKeysName, s.apexKeysText}, {targetfiles.OTAKeys, s.otaKeysText},
		{targetfiles.VBMetaDigest, s.digestText}, {targetfiles.CareMap, s.careMap},
	} {
		old, err := s.src.ReadFile(m.name)
		if err != nil {
			continue // there is none
		}
		now, err := m.make(old)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if !bytes.Equal(old, now) {
			s.set(m.name, bytesContent(now))
			s.change(Change{What: "meta", Path: m.name, Old: changedLine(old, now), New: changedLine(now, old)})
		}
	}
	return nil
}

// installed is the key that META's name of a certificate stands for now, or nil:
// also packages are listed that are not in the build, and nobody needs their
// keys.
func (s *signing) installed(names []string) *Key {
	for _, n := range names {
		if k, err := s.ring.load(n); err == nil && k != nil {
			return k
		}
	}
	return nil
}

// miscInfo is META/misc_info.txt with the vendor's keys and tags (releasetools,
// ReplaceAvbSigningKeys, RewriteAvbProps).
func (s *signing) miscInfo(old []byte) ([]byte, error) {
	d, err := targetfiles.ParseDict(old)
	if err != nil {
		return nil, err
	}
	list, err := targetfiles.AVBPartitions(d)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		k := s.installed(s.ring.avbNames(a.Partition))
		if k == nil {
			continue
		}
		d.Set("avb_"+a.Partition+"_key_path", k.Name+extPEM)
		if alg, err := avb.ParseAlgorithm(a.Algorithm); err == nil {
			if now, err := algorithmFor(alg, k); err == nil {
				d.Set("avb_"+a.Partition+"_algorithm", now.String())
			}
		}
	}
	for _, p := range append(slices.Clone(targetfiles.Partitions), custom(d)...) {
		name := targetfiles.AVBArgsKey(p.Name)
		if args, ok := d.Lookup(name); ok {
			d.Set(name, s.avbArgs(p.Name, args))
		}
	}
	for _, name := range []string{"default_system_dev_certificate", "extra_ota_keys", "extra_recovery_keys"} {
		v, ok := d.Lookup(name)
		if !ok || v == "" {
			continue
		}
		var words []string
		for _, w := range strings.Fields(v) {
			if k := s.installed(s.ring.certificateNames(w)); k != nil {
				w = k.Name
			}
			words = append(words, w)
		}
		d.Set(name, strings.Join(words, " "))
	}
	return d.Bytes(), nil
}

// custom are the partitions that a build has besides AOSP's.
func custom(d *targetfiles.Dict) []targetfiles.Partition {
	var out []targetfiles.Partition
	for _, n := range d.Fields("avb_custom_images_partition_list") {
		out = append(out, targetfiles.Partition{Name: n})
	}
	return out
}

// avbArgs are arguments of avbtool with the fingerprint's tags and the rollback
// index changed.
func (s *signing) avbArgs(partition, args string) string {
	words := strings.Split(args, " ")
	index, set := s.o.Rollback[partition]
	for i, w := range words {
		switch {
		case strings.HasPrefix(w, "com.android.build.") && strings.Contains(w, ".fingerprint:"):
			words[i] = rewriteFingerprint(w, s.o.Tags)
		case set && i > 0 && words[i-1] == "--rollback_index":
			words[i] = fmt.Sprint(index)
		}
	}
	return strings.Join(words, " ")
}

// apkCerts is META/apkcerts.txt with the vendor's keys.
func (s *signing) apkCerts([]byte) ([]byte, error) {
	for i := range s.apks.Certs {
		c := &s.apks.Certs[i]
		key := c.Key()
		if to, ok := s.o.Packages[c.Name]; ok {
			key = to
		}
		if to, ok := s.ring.mapped(key); ok && special(to) || key == "" {
			key = Presigned
		}
		if special(key) {
			if c.Key() != key {
				c.Certificate, c.PrivateKey = Presigned, ""
			}
			continue
		}
		if k := s.installed(s.ring.certificateNames(key)); k != nil {
			c.Certificate, c.PrivateKey = k.Name+extCertificate, k.Name+extPK8
		}
	}
	return s.apks.Bytes(), nil
}

// apexKeysText is META/apexkeys.txt with the vendor's keys.
func (s *signing) apexKeysText([]byte) ([]byte, error) {
	for i := range s.apexs.Keys {
		l := &s.apexs.Keys[i]
		key := l.ContainerKey()
		if to, ok := s.o.Packages[l.Name]; ok {
			key = to
		}
		if to, ok := s.ring.mapped(key); ok && special(to) || key == "" {
			key = Presigned
		}
		if special(key) {
			if l.ContainerKey() != key {
				l.ContainerCertificate, l.ContainerPrivateKey, l.PublicKey, l.PrivateKey = Presigned, Presigned, Presigned, Presigned
			}
			continue
		}
		if k := s.installed(s.ring.certificateNames(key)); k != nil {
			l.ContainerCertificate, l.ContainerPrivateKey = k.Name+extCertificate, k.Name+extPK8
		}
		if k := s.installed(s.ring.payloadNames(l.Name, l.PrivateKey)); k != nil && !special(l.PrivateKey) {
			l.PublicKey, l.PrivateKey = k.Name+".avbpubkey", k.Name+extPEM
		}
	}
	return s.apexs.Bytes(), nil
}

// otaKeysText is META/otakeys.txt with the vendor's certificates.
func (s *signing) otaKeysText(old []byte) ([]byte, error) {
	if len(s.ota.system) == 0 {
		return old, nil
	}
	var words []string
	for _, k := range s.ota.system {
		words = append(words, k.Name+extCertificate)
	}
	return targetfiles.FormatList(words), nil
}

func (s *signing) digestText(old []byte) ([]byte, error) {
	digest, err := s.vbmetaDigest()
	if err != nil || digest == nil {
		return old, err
	}
	now := []byte(hex.EncodeToString(digest))
	if bytes.HasSuffix(old, []byte("\n")) {
		now = append(now, '\n')
	}
	return now, nil
}

// careMap is META/care_map.pb, which says which blocks an update reads once
// before it counts, with new blocks and fingerprints (bootable/recovery,
// update_verifier/care_map.proto).
func (s *signing) careMap(old []byte) ([]byte, error) {
	const partitions = 1
	var out []byte
	for len(old) > 0 {
		f, err := protowire.Next(old)
		if err != nil {
			return nil, err
		}
		old = old[len(f.Raw):]
		if f.Num != partitions || f.Type != protowire.Bytes {
			return nil, fmt.Errorf("field %d: %w", f.Num, errors.ErrUnsupported)
		}
		now, err := s.carePartition(f.B)
		if err != nil {
			return nil, err
		}
		out = protowire.AppendBytes(out, partitions, now)
	}
	return out, nil
}

// carePartition is one partition of it.
func (s *signing) carePartition(old []byte) ([]byte, error) {
	const name, ranges, id, fingerprint = 1, 2, 3, 4
	var p [fingerprint + 1]string
	for len(old) > 0 {
		f, err := protowire.Next(old)
		if err != nil {
			return nil, err
		}
		old = old[len(f.Raw):]
		if f.Num < name || f.Num > fingerprint || f.Type != protowire.Bytes {
			return nil, fmt.Errorf("field %d of a partition: %w", f.Num, errors.ErrUnsupported)
		}
		p[f.Num] = string(f.B)
	}
	var err error
	if p[ranges], err = s.careRanges(p[name], p[ranges]); err != nil {
		return nil, err
	}
	p[fingerprint] = rewriteFingerprint(p[fingerprint], s.o.Tags)
	var out []byte
	for i := protowire.Number(name); i <= fingerprint; i++ {
		if p[i] != "" {
			out = protowire.AppendBytes(out, i, p[i])
		}
	}
	return out, nil
}

// careRanges are the blocks of a partition's file system that hold something, as
// releasetools writes ranges: how many numbers, and the numbers
// (add_img_to_target_files.py, GetCareMap).
func (s *signing) careRanges(partition, old string) (string, error) {
	m := s.images[s.src.ImageName(partition)]
	if m == nil || m.now == nil || m.tree() == nil {
		return old, nil
	}
	tree := ownTree(m.now, partition)
	if tree == nil {
		return old, nil
	}
	blocks := uint32(tree.ImageSize / avb.BlockSize)
	if m.sparse == nil {
		return fmt.Sprintf("2,0,%d", blocks), nil
	}
	var nums []string
	c := s.contents[m.name]
	err := withFile(c.file, func(r io.ReaderAt, size int64) error {
		img, err := sparse.Parse(r, size)
		if err != nil {
			return err
		}
		last := uint32(0)
		for _, c := range img.Chunks {
			end := min(c.Start+c.Blocks, blocks)
			if c.Kind != sparse.Raw && c.Kind != sparse.Fill || c.Start >= end {
				continue
			}
			if len(nums) > 0 && last == c.Start {
				nums[len(nums)-1] = fmt.Sprint(end)
			} else {
				nums = append(nums, fmt.Sprint(c.Start), fmt.Sprint(end))
			}
			last = end
		}
		return nil
	})
	return fmt.Sprintf("%d,%s", len(nums), strings.Join(nums, ",")), err
}

// dropMaps takes the lists of files' blocks of images out that were rebuilt: they
// are of the old ones.
func (s *signing) dropMaps() {
	for name, m := range s.images {
		list := strings.TrimSuffix(name, path.Ext(name)) + ".map"
		if m.out != "" && len(m.edits) > 0 && s.src.Has(list) {
			s.removed[list] = true
			s.change(Change{What: "meta", Path: list})
		}
	}
}
