package apk

// application reads the first application element.
func (r *manifestReader) application(e *Element) {
	if r.seenApp {
		return
	}
	r.seenApp = true
	m := r.m
	m.Label = r.text(e, idLabel)
	m.Debuggable = r.flag(e, idDebuggable, e.Res(idDebuggable) != nil) // what a resource says, who knows
	m.Application = Application{
		Name: r.class(e, idName), Label: r.raw(e, idLabel), Description: r.raw(e, idDescription),
		Icon: r.raw(e, idIcon), RoundIcon: r.raw(e, idRoundIcon), Banner: r.raw(e, idBanner), Logo: r.raw(e, idLogo), Theme: r.raw(e, idTheme),
		Permission: r.text(e, idPermission), Process: r.text(e, idProcess),
		Enabled: r.flag(e, idEnabled, true), HasCode: r.flag(e, idHasCode, true),
		AllowBackup: r.flag(e, idAllowBackup, true), BackupAgent: r.class(e, idBackupAgent),
		FullBackupContent: r.raw(e, idFullBackupContent), DataExtractionRules: r.raw(e, idDataExtractionRules),
		ExtractNativeLibs:    r.flag(e, idExtractNativeLibs, true),
		UsesCleartextTraffic: r.flag(e, idUsesCleartextTraffic, m.TargetSDK < 28 && m.MinSDK < 28),
		NetworkSecurity:      r.raw(e, idNetworkSecurityConfig),
		LargeHeap:            r.flag(e, idLargeHeap, false), MultiArch: r.flag(e, idMultiArch, false), SupportsRTL: r.flag(e, idSupportsRTL, false),
		Persistent: r.flag(e, idPersistent, false), DirectBootAware: r.flag(e, idDirectBootAware, false),
		IsGame: r.flag(e, idIsGame, false), TestOnly: r.flag(e, idTestOnly, false), VMSafeMode: r.flag(e, idVMSafeMode, false),
		LegacyStorage: r.flag(e, idRequestLegacyExternalStorage, false),
	}
	for name, n := range appCategories {
		if r.integer(e, idAppCategory, -1) == int(n) {
			m.Application.Category = name
		}
	}
	m.Components = make([]Component, 0, len(e.Children))
	for _, c := range e.Children {
		if c.Namespace == "" {
			r.inApplication(c)
		}
	}
	if len(m.Components) == 0 {
		m.Components = nil
	}
}

// inApplication reads an element below application.
func (r *manifestReader) inApplication(e *Element) {
	switch e.Name {
	case "activity", "activity-alias", "service", "receiver", "provider":
		r.component(e)
	case "meta-data":
		r.metaData(e)
	case "profileable":
		r.m.Application.Profileable = r.flag(e, idShell, false)
	case "uses-library", "uses-native-library", "uses-static-library", "uses-sdk-library":
		r.usesLibrary(e)
	case "library", "static-library", "sdk-library":
		r.m.Provides = append(r.m.Provides, Library{e.Name, r.text(e, idName), r.libraryVersion(e)})
	}
}

// metaData reads what the application says of itself to others.
func (r *manifestReader) metaData(e *Element) {
	name, v := r.text(e, idName), r.raw(e, idValue)
	if e.Res(idValue) == nil {
		v = r.raw(e, idResource)
	}
	if name == "" || v == (Value{}) {
		return
	}
	if r.m.MetaData == nil {
		r.m.MetaData = make(map[string]string)
	}
	if _, twice := r.m.MetaData[name]; twice && r.err == nil {
		r.err = bad(0, "%s: meta-data %q twice", ManifestName, name)
	}
	r.m.MetaData[name] = v.String()
}

func (r *manifestReader) usesLibrary(e *Element) {
	l := UsesLibrary{Kind: LibraryKind(e.Name), Name: r.text(e, idName), Required: r.flag(e, idRequired, true)}
	if l.Kind == LibraryStatic || l.Kind == LibrarySDK {
		l.Required, l.Version = true, r.libraryVersion(e)
		if d := r.text(e, idCertDigest); d != "" {
			l.CertDigests = append(l.CertDigests, d)
		}
		for _, c := range e.Children {
			if c.Name == "additional-certificate" {
				l.CertDigests = append(l.CertDigests, r.text(c, idCertDigest))
			}
		}
	}
	r.m.Libraries = append(r.m.Libraries, l)
}

// libraryVersion reads the version of a static or SDK library, of which each has
// an attribute of its own.
func (r *manifestReader) libraryVersion(e *Element) int64 {
	version := r.integer(e, idVersion, r.integer(e, idVersionMajor, 0))
	return int64(r.integer(e, idVersionCodeMajor, 0))<<32 | int64(version)
}

func (r *manifestReader) component(e *Element) {
	c := Component{
		Kind: Kind(e.Name), Name: r.class(e, idName), Target: r.class(e, idTargetActivity),
		Label: r.raw(e, idLabel), Icon: r.raw(e, idIcon), RoundIcon: r.raw(e, idRoundIcon), Banner: r.raw(e, idBanner),
		Permission: r.text(e, idPermission), Process: r.text(e, idProcess),
		Enabled:          r.flag(e, idEnabled, true),
		Exported:         r.flag(e, idExported, true),
		ExportedExplicit: e.Res(idExported) != nil,
		DirectBootAware:  r.flag(e, idDirectBootAware, false),
		ForegroundTypes:  uint32(r.integer(e, idForegroundServiceType, 0)),
		Orientation:      r.integer(e, idScreenOrientation, -1),
	}
	if c.Kind == KindProvider {
		c.Read, c.Write = r.text(e, idReadPermission), r.text(e, idWritePermission)
		c.Authorities, c.GrantURIPermission = r.list(e, idAuthorities, ";"), r.flag(e, idGrantURIPermissions, false)
	}
	for _, sub := range e.Children {
		switch {
		case sub.Namespace != "":
		case sub.Name == "intent-filter":
			c.Filters = append(c.Filters, r.filter(sub))
		case sub.Name == "meta-data":
			d := MetaData{Name: r.text(sub, idName), Value: r.raw(sub, idValue)}
			if id, ok := r.raw(sub, idResource).Reference(); ok && sub.Res(idValue) == nil {
				d.Resource = id
			}
			c.MetaData = append(c.MetaData, d)
		}
	}
	r.m.Components = append(r.m.Components, c)
}

func (r *manifestReader) filter(e *Element) IntentFilter {
	f := IntentFilter{AutoVerify: r.flag(e, idAutoVerify, false), Priority: r.integer(e, idPriority, 0)}
	for _, c := range e.Children {
		switch c.Name {
		case "action":
			f.Actions = append(f.Actions, r.text(c, idName))
		case "category":
			f.Categories = append(f.Categories, r.text(c, idName))
		case "data":
			f.Data = append(f.Data, IntentData{
				Scheme: r.text(c, idScheme), Host: r.text(c, idHost), Port: r.text(c, idPort), Path: r.text(c, idPath),
				PathPrefix: r.text(c, idPathPrefix), PathSuffix: r.text(c, idPathSuffix), PathPattern: r.text(c, idPathPattern),
				MIMEType: r.text(c, idMimeType),
			})
		}
	}
	return f
}

// finishComponents decides what components are that the manifest does not say.
func (r *manifestReader) finishComponents() {
	for i := range r.m.Components {
		c := &r.m.Components[i]
		switch {
		case c.ExportedExplicit:
		case c.Kind == KindProvider:
			c.Exported = r.m.TargetSDK < 17
		default:
			c.Exported = len(c.Filters) > 0
		}
	}
}
