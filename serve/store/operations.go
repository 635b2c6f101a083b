package store

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"mios"
	api "mios/api/repo"
	"mios/publish/app"
	"mios/publish/app/check"
	"mios/publish/app/history"
	"mios/storage/blob"
)

// operations is the one list of what the API does, in the order in which a
// person meets it.
func operations() []operation {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []operation{
		op(operation{id: "whoami", method: get, path: "/me", summary: "Tell whose token this is and what it allows"}, whoami),
		op(operation{id: "submit", method: post, path: "/submissions", scopes: []Scope{Upload}, status: http.StatusCreated, summary: "Hand in a version: its files are looked at, and kept for review"}, submit),
		op(operation{id: "listSubmissions", method: get, path: "/submissions", scopes: []Scope{Read, Review, Release, Upload}, summary: "List submissions, the newest first"}, listSubmissions),
		op(operation{id: "getSubmission", method: get, path: "/submissions/{id}", scopes: []Scope{Read, Review, Release, Upload}, summary: "Show a submission with what the checks found"}, getSubmission),
		op(operation{id: "getFacts", method: get, path: "/submissions/{id}/facts", scopes: []Scope{Read, Review, Release, Upload}, summary: "Show all that was found in a submission's files"}, getFacts),
		op(operation{id: "review", method: post, path: "/submissions/{id}/review", scopes: []Scope{Review}, summary: "Approve or reject a submission"}, review),
		op(operation{id: "release", method: post, path: "/submissions/{id}/release", scopes: []Scope{Release}, status: http.StatusCreated, summary: "Release an approved submission on a track"}, release),
		op(operation{id: "listApps", method: get, path: "/apps", scopes: []Scope{Read, Review, Release, Upload}, summary: "List apps by package"}, listApps),
		op(operation{id: "getApp", method: get, path: "/apps/{package}", scopes: []Scope{Read, Review, Release, Upload}, summary: "Show an app and its releases"}, getApp),
		op(operation{id: "getAppHistory", method: get, path: "/apps/{package}/history", scopes: []Scope{Read, Review, Release}, summary: "Show who did what to an app, and why"}, getAppHistory),
		op(operation{id: "setShare", method: post, path: "/apps/{package}/releases/{number}/share", scopes: []Scope{Release}, summary: "Say how many devices a release is for"}, setShare),
		op(operation{id: "halt", method: post, path: "/apps/{package}/releases/{number}/halt", scopes: []Scope{Release}, summary: "Let no further device take a release"}, halt),
		op(operation{id: "resume", method: post, path: "/apps/{package}/releases/{number}/resume", scopes: []Scope{Release}, summary: "Let devices take a halted release again"}, resume),
		op(operation{id: "rollback", method: post, path: "/apps/{package}/rollback", scopes: []Scope{Release}, status: http.StatusCreated, summary: "Release an earlier version again, which devices go down to"}, rollback),
		op(operation{id: "setListing", method: put, path: "/apps/{package}/listing", scopes: []Scope{Upload}, summary: "Replace what people see of an app"}, setListing),
		op(operation{id: "setDevelopers", method: put, path: "/apps/{package}/developers", scopes: []Scope{Admin}, summary: "Say who may submit versions of an app"}, setDevelopers),
		op(operation{id: "getHistory", method: get, path: "/history", scopes: []Scope{Read}, summary: "Show the whole history, verified"}, getHistory),
		op(operation{id: "getStatus", method: get, path: "/status", scopes: []Scope{Read, Review, Release}, summary: "Count what the store has and what waits"}, getStatus),
		op(operation{id: "listTokens", method: get, path: "/tokens", scopes: []Scope{Admin}, summary: "List tokens, without their secrets"}, listTokens),
		op(operation{id: "createToken", method: post, path: "/tokens", scopes: []Scope{Admin}, status: http.StatusCreated, private: true, summary: "Make a token; its secret is told this once"}, createToken),
		op(operation{id: "revokeToken", method: del, path: "/tokens/{id}", scopes: []Scope{Admin}, summary: "End a token"}, revokeToken),
	}
}

type noInput struct{}

func whoami(s *Service, c *call, _ *noInput) (*Token, error) { return c.token, nil }

type submitInput struct {
	Uploads []string `json:"uploads" doc:"the base package's and its splits' uploads: their IDs, or addresses"`
	Listing string   `json:"listing,omitempty" doc:"the upload of a ZIP with a listing in fastlane's layout; none leaves it as it is"`
	Note    string   `json:"note,omitempty" doc:"what is new, in plain text"`
}

func submit(s *Service, c *call, in *submitInput) (*app.Submission, error) {
	if len(in.Uploads) == 0 || len(in.Uploads) > maxUploadFiles {
		return nil, badRequest("%d uploads: name the base package's, and those of its splits, up to %d", len(in.Uploads), maxUploadFiles)
	}
	ups, err := s.complete(c, c.token, in.Uploads)
	if err != nil {
		return nil, err
	}
	u := app.Upload{Note: in.Note, Packages: c.token.Packages}
	for _, up := range ups {
		u.Files = append(u.Files, app.UploadFile{Name: up.Name, Digest: up.Digest})
	}
	if in.Listing != "" {
		folder, end, err := s.openListing(c, in.Listing)
		if err != nil {
			return nil, err
		}
		defer end()
		u.Listing = folder
	}
	sub, err := s.App.Submit(c, c.token.Who, u)
	if err != nil && problemOf(err).Status < 500 {
		// The store has removed the files; what leads to them goes as well.
		if err := s.forgetUploads(c, ups); err != nil {
			return nil, err
		}
	}
	return sub, err
}

// maxListing bounds an unpacked listing, in bytes and files.
const (
	maxListing      = 256 << 20
	maxListingFiles = 5000
)

// openListing opens an uploaded ZIP as a folder.
func (s *Service) openListing(c *call, id string) (fs.FS, func(), error) {
	ups, err := s.complete(c, c.token, []string{id})
	if err != nil {
		return nil, nil, err
	}
	f, err := s.App.Blobs().Open(c, ups[0].Digest)
	if err != nil {
		return nil, nil, err
	}
	z, err := zip.NewReader(f, f.Size())
	if err == nil {
		err = checkZip(z)
	}
	if err != nil {
		closeBlob(f)
		return nil, nil, fmt.Errorf("listing: %v: %w: upload a ZIP of a folder in fastlane's layout", err, mios.ErrInvalid)
	}
	return z, func() { closeBlob(f) }, nil
}

// closeBlob closes what was only read.
func closeBlob(f blob.File) { f.Close() }

// checkZip refuses a ZIP that unpacks to too much, or has names that are none of
// a folder's.
func checkZip(z *zip.Reader) error {
	var total uint64
	for _, f := range z.File {
		total += min(f.UncompressedSize64, maxListing+1)
		if !fs.ValidPath(trimSlash(f.Name)) {
			return fmt.Errorf("it has the file name %.100q", f.Name)
		}
	}
	if total > maxListing || len(z.File) > maxListingFiles {
		return errors.New("it unpacks to too much")
	}
	return nil
}

func trimSlash(name string) string {
	if n := len(name); n > 1 && name[n-1] == '/' {
		return name[:n-1]
	}
	return name
}

// sees tells whether a token may see a submission.
func (t *Token) sees(sub *app.Submission) bool {
	if !t.May(Read) && !t.May(Review) && !t.May(Release) {
		return sub.By == t.Who
	}
	return t.For(sub.Package)
}

// submission returns one that the token may see.
func (s *Service) submission(c *call, id string) (*app.Submission, error) {
	sub, err := s.App.Submission(c, id)
	if err != nil {
		return nil, err
	}
	if !c.token.sees(sub) {
		return nil, fmt.Errorf("submission %s: %w: or your token is not for its package", id, mios.ErrNotFound)
	}
	return sub, nil
}

type submissionInput struct {
	ID string `path:"id" json:"-" doc:"the submission's number"`
}

func getSubmission(s *Service, c *call, in *submissionInput) (*app.Submission, error) {
	return s.submission(c, in.ID)
}

func getFacts(s *Service, c *call, in *submissionInput) (*check.Facts, error) {
	if _, err := s.submission(c, in.ID); err != nil {
		return nil, err
	}
	return s.App.Facts(c, in.ID)
}

type listInput struct {
	Package string `query:"package" json:"-" doc:"only those of a package"`
	State   string `query:"state" json:"-" enum:"checking,review,approved,rejected" doc:"only those in a state"`
	By      string `query:"by" json:"-" doc:"only those by a developer"`
	Before  string `query:"before" json:"-" doc:"the number of the last one of the page before"`
	Limit   int    `query:"limit" json:"-" doc:"at most so many, up to 500; 100 unless told"`
}

type submissionList struct {
	Submissions []app.Submission `json:"submissions"`
}

const (
	maxPage     = 500
	defaultPage = 100
)

func listSubmissions(s *Service, c *call, in *listInput) (*submissionList, error) {
	f := app.Filter{Package: in.Package, State: app.State(in.State), By: in.By, Before: in.Before, Limit: max(pageOf(in.Limit), defaultPage)}
	if t := c.token; !t.May(Read) && !t.May(Review) && !t.May(Release) {
		f.By = t.Who
	}
	out := &submissionList{Submissions: []app.Submission{}}
	for want := pageOf(in.Limit); ; {
		list, err := s.App.Submissions(c, f)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if c.token.sees(&list[i]) && len(out.Submissions) < want {
				out.Submissions = append(out.Submissions, list[i])
			}
		}
		if len(list) < f.Limit || len(out.Submissions) == want {
			return out, nil
		}
		f.Before = list[len(list)-1].ID // what the token does not see makes no page end early
	}
}

// pageOf is how much a page has at most.
func pageOf(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

type reviewInput struct {
	ID      string `path:"id" json:"-" doc:"the submission's number"`
	Approve bool   `json:"approve"`
	Why     string `json:"why,omitempty" doc:"for the developer and the history, in plain text"`
}

func review(s *Service, c *call, in *reviewInput) (*app.Submission, error) {
	sub, err := s.App.Submission(c, in.ID)
	if err == nil {
		err = c.token.forPackage(sub.Package)
	}
	if err != nil {
		return nil, err
	}
	return s.App.Review(c, c.token.Who, in.ID, in.Approve, in.Why)
}

type releaseInput struct {
	ID      string      `path:"id" json:"-" doc:"the submission's number"`
	Track   string      `json:"track,omitempty" enum:"internal,beta,production" doc:"production unless told"`
	Share   api.Share   `json:"share,omitempty" doc:"of 10,000 devices; none: the first step on production, all elsewhere"`
	Regions []string    `json:"regions,omitempty" doc:"ISO 3166; none: everywhere"`
	Classes []string    `json:"classes,omitempty" doc:"of devices; none: all"`
	Steps   []api.Share `json:"steps,omitempty" doc:"the shares to come"`
	Every   app.Seconds `json:"every,omitempty" doc:"seconds between two steps; 0: the share grows only when told"`
	Why     string      `json:"why,omitempty"`
}

func release(s *Service, c *call, in *releaseInput) (*app.Release, error) {
	sub, err := s.App.Submission(c, in.ID)
	if err == nil {
		err = c.token.forPackage(sub.Package)
	}
	if err != nil {
		return nil, err
	}
	return s.App.Release(c, c.token.Who, in.ID, app.ReleaseOptions{
		Track: in.Track, Share: in.Share, Regions: in.Regions, Classes: in.Classes, Steps: in.Steps, Every: in.Every.Duration(), Why: in.Why,
	})
}

type pageInput struct {
	After string `query:"after" json:"-" doc:"the last package of the page before"`
	Limit int    `query:"limit" json:"-" doc:"at most so many, up to 500; 100 unless told"`
}

type appList struct {
	Apps []app.App `json:"apps"`
}

func listApps(s *Service, c *call, in *pageInput) (*appList, error) {
	out := &appList{Apps: []app.App{}}
	limit, after := pageOf(in.Limit), in.After
	for batch := max(limit, defaultPage); ; {
		list, err := s.App.Apps(c, after, batch)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			if c.token.For(a.Package) && len(out.Apps) < limit {
				out.Apps = append(out.Apps, a)
			}
		}
		if len(list) < batch || len(out.Apps) == limit {
			return out, nil
		}
		after = list[len(list)-1].Package
	}
}

type packageInput struct {
	Package string `path:"package" json:"-"`
}

func getApp(s *Service, c *call, in *packageInput) (*app.App, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.App(c, in.Package)
}

type eventList struct {
	Events []history.Event `json:"events"`
}

func getAppHistory(s *Service, c *call, in *packageInput) (*eventList, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	list, err := s.App.History(c, in.Package)
	return &eventList{list}, err
}

func getHistory(s *Service, c *call, _ *noInput) (*eventList, error) {
	if err := c.token.forAll(); err != nil {
		return nil, err
	}
	list, err := s.App.History(c, "")
	return &eventList{list}, err
}

type shareInput struct {
	Package string    `path:"package" json:"-"`
	Number  int64     `path:"number" json:"-" doc:"the release's"`
	Share   api.Share `json:"share" doc:"of 10,000 devices"`
	Why     string    `json:"why,omitempty"`
}

func setShare(s *Service, c *call, in *shareInput) (*app.Release, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.SetShare(c, c.token.Who, in.Package, in.Number, in.Share, in.Why)
}

type whyInput struct {
	Package string `path:"package" json:"-"`
	Number  int64  `path:"number" json:"-" doc:"the release's"`
	Why     string `json:"why,omitempty"`
}

func halt(s *Service, c *call, in *whyInput) (*app.Release, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.Halt(c, c.token.Who, in.Package, in.Number, in.Why)
}

func resume(s *Service, c *call, in *whyInput) (*app.Release, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.Resume(c, c.token.Who, in.Package, in.Number, in.Why)
}

type rollbackInput struct {
	Package string `path:"package" json:"-"`
	Track   string `json:"track,omitempty" enum:"internal,beta,production" doc:"production unless told"`
	To      int64  `json:"to,omitempty" doc:"the release to go back to; none: the newest older one"`
	Why     string `json:"why,omitempty"`
}

func rollback(s *Service, c *call, in *rollbackInput) (*app.Release, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.Rollback(c, c.token.Who, in.Package, in.Track, in.To, in.Why)
}

type listingInput struct {
	Package string `path:"package" json:"-"`
	Upload  string `json:"upload" doc:"of a ZIP with a listing in fastlane's layout"`
	Why     string `json:"why,omitempty"`
}

type listed struct {
	app.App
	LeftOut []string `json:"left_out,omitempty" doc:"what of the ZIP is no part of a listing, a sentence each"`
}

func setListing(s *Service, c *call, in *listingInput) (*listed, error) {
	if err := s.mayDescribe(c, in.Package); err != nil {
		return nil, err
	}
	folder, end, err := s.openListing(c, in.Upload)
	if err != nil {
		return nil, err
	}
	defer end()
	a, left, err := s.App.SetListing(c, c.token.Who, in.Package, folder, in.Why)
	if err != nil {
		return nil, err
	}
	return &listed{*a, left}, nil
}

// mayDescribe tells whether who calls may say what people see of a package: those
// who may submit versions of it.
func (s *Service) mayDescribe(c *call, pkg string) error {
	if err := c.token.forPackage(pkg); err != nil {
		return err
	}
	a, err := s.App.App(c, pkg)
	if err != nil || c.token.May(Admin) {
		return err
	}
	return a.CheckDeveloper(c.token.Who)
}

type developersInput struct {
	Package    string   `path:"package" json:"-"`
	Developers []string `json:"developers"`
	Why        string   `json:"why,omitempty"`
}

func setDevelopers(s *Service, c *call, in *developersInput) (*app.App, error) {
	if err := c.token.forPackage(in.Package); err != nil {
		return nil, err
	}
	return s.App.SetDevelopers(c, c.token.Who, in.Package, in.Developers, in.Why)
}

func getStatus(s *Service, c *call, _ *noInput) (*app.Status, error) {
	if err := c.token.forAll(); err != nil {
		return nil, err
	}
	return s.App.Status(c)
}

type tokenList struct {
	Tokens []Token `json:"tokens"`
}

func listTokens(s *Service, c *call, _ *noInput) (*tokenList, error) {
	if err := c.token.forAll(); err != nil {
		return nil, err
	}
	list, err := s.tokens.List(c)
	return &tokenList{list}, err
}

type tokenInput struct {
	Who      string      `json:"who" doc:"the name that the history tells of what is done with it"`
	Scopes   []Scope     `json:"scopes" enum:"upload,review,release,read,admin"`
	Packages []string    `json:"packages,omitempty" doc:"the only packages that it is for; none: all"`
	Note     string      `json:"note,omitempty"`
	TTL      app.Seconds `json:"ttl,omitempty" doc:"seconds until it expires; 0: never"`
}

type newToken struct {
	Token
	Secret string `json:"secret" doc:"what to send: it is told this once"`
}

func createToken(s *Service, c *call, in *tokenInput) (*newToken, error) {
	if err := c.token.forAll(); err != nil { // or it could make itself one that is
		return nil, err
	}
	t, secret, err := s.tokens.Create(c, c.token.Who, TokenSpec{Who: in.Who, Scopes: in.Scopes, Packages: in.Packages, Note: in.Note, TTL: time.Duration(in.TTL) * time.Second})
	if err != nil {
		return nil, err
	}
	return &newToken{*t, secret}, nil
}

type tokenIDInput struct {
	ID string `path:"id" json:"-"`
}

type revoked struct {
	Revoked string `json:"revoked" doc:"the token's ID"`
}

func revokeToken(s *Service, c *call, in *tokenIDInput) (*revoked, error) {
	if err := c.token.forAll(); err != nil {
		return nil, err
	}
	return &revoked{in.ID}, s.tokens.Revoke(c, in.ID)
}
