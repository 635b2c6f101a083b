package otazip

import "mios/internal/protowire"

// A CareMap is AOSP's CareMap: the blocks that update_verifier reads after an
// update, before it takes it for good.
type CareMap struct {
	Partitions []CarePartition

	unknown []byte
}

// A CarePartition is one partition of a care map.
type CarePartition struct {
	Name        string
	Ranges      string // "2,0,100": a count of numbers, then blocks from and up to
	ID          string // the property that Fingerprint is of
	Fingerprint string

	unknown []byte
}

// ParseCareMap reads care_map.pb strictly: what it accepts, Encode gives back.
func ParseCareMap(b []byte) (*CareMap, error) {
	m := new(CareMap)
	if err := decode(CareMapName, b, m, &m.unknown); err != nil {
		return nil, err
	}
	return m, nil
}

// Encode returns the message.
func (m *CareMap) Encode() []byte { return m.encode() }

func (m *CareMap) field(x *protowire.Field) (bool, error) {
	if x.Num != 1 {
		return false, nil
	}
	if err := want(x, protowire.Bytes); err != nil {
		return true, err
	}
	var p CarePartition
	err := decode(CareMapName, x.B, &p, &p.unknown)
	m.Partitions = append(m.Partitions, p)
	return true, err
}

func (m *CareMap) encode() (b []byte) {
	for i := range m.Partitions {
		b = protowire.AppendBytes(b, 1, m.Partitions[i].encode())
	}
	return append(b, m.unknown...)
}

func (p *CarePartition) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return text(x, &p.Name)
	case 2:
		return text(x, &p.Ranges)
	case 3:
		return text(x, &p.ID)
	case 4:
		return text(x, &p.Fingerprint)
	}
	return false, nil
}

func (p *CarePartition) encode() []byte {
	b := appendText(nil, 1, p.Name)
	b = appendText(b, 2, p.Ranges)
	b = appendText(b, 3, p.ID)
	b = appendText(b, 4, p.Fingerprint)
	return append(b, p.unknown...)
}

// ApexInfo is AOSP's ApexMetadata: the APEXes that an update brings.
type ApexInfo struct {
	Apexes []Apex

	unknown []byte
}

// An Apex is AOSP's ApexInfo.
type Apex struct {
	Package          string
	Version          int64
	Compressed       bool
	DecompressedSize int64 // bytes
	SourceVersion    int64 // of what is installed, in an incremental update

	unknown []byte
}

// ParseApexInfo reads apex_info.pb strictly: what it accepts, Encode gives back.
func ParseApexInfo(b []byte) (*ApexInfo, error) {
	m := new(ApexInfo)
	if err := decode(ApexInfoName, b, m, &m.unknown); err != nil {
		return nil, err
	}
	return m, nil
}

// Encode returns the message.
func (m *ApexInfo) Encode() []byte { return m.encode() }

// From fills in which versions the installed build has.
func (m *ApexInfo) From(installed *ApexInfo) {
	for i := range m.Apexes {
		for _, old := range installed.Apexes {
			if old.Package == m.Apexes[i].Package {
				m.Apexes[i].SourceVersion = old.Version
			}
		}
	}
}

func (m *ApexInfo) field(x *protowire.Field) (bool, error) {
	if x.Num != 1 {
		return false, nil
	}
	if err := want(x, protowire.Bytes); err != nil {
		return true, err
	}
	var a Apex
	err := decode(ApexInfoName, x.B, &a, &a.unknown)
	m.Apexes = append(m.Apexes, a)
	return true, err
}

func (m *ApexInfo) encode() (b []byte) {
	for i := range m.Apexes {
		b = protowire.AppendBytes(b, 1, m.Apexes[i].encode())
	}
	return append(b, m.unknown...)
}

func (a *Apex) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return text(x, &a.Package)
	case 2:
		return number(x, &a.Version)
	case 3:
		return boolean(x, &a.Compressed)
	case 4:
		return number(x, &a.DecompressedSize)
	case 5:
		return number(x, &a.SourceVersion)
	}
	return false, nil
}

func (a *Apex) encode() []byte {
	b := appendText(nil, 1, a.Package)
	b = appendNumber(b, 2, a.Version)
	b = appendBool(b, 3, a.Compressed)
	b = appendNumber(b, 4, a.DecompressedSize)
	b = appendNumber(b, 5, a.SourceVersion)
	return append(b, a.unknown...)
}
