// Command verify is an independent verifier of attest bundles: it shares no code with the service and was written from
// docs/spec alone, so that an auditor can see that the published rules are what is verified. This file is
// docs/spec/verify.md: its steps stand in the order of that page, and so do the checks of a step. formats.go has the
// other pages. Nothing here fetches anything.
package main

import (
	"bytes"
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// ---- the question -----------------------------------------------------------------------------------------

var (
	levels  = []string{"A0", "A1", "A2", "A3"}
	expects = []string{"", "excluded", "erased", "held"}
)

type question struct {
	policy, statePolicy *policy
	holder              string
	locators            []string
	keepsake            object
	expect              string // "": what the kind shows
	level               string
	maxAge, now         int64 // seconds
}

// check refuses what is no question. A keepsake answers what is not asked otherwise.
func (q *question) check() {
	if k := q.keepsake; k != nil {
		holder, locator := at[string](k, "holder"), at[string](k, "locator")
		if q.holder = cmp.Or(q.holder, holder); len(q.locators) == 0 {
			q.locators = []string{locator}
		}
		require(holder == q.holder && slices.Contains(q.locators, locator), "question/keepsake", "it is of somebody else")
	}
	_, isID := partyID(q.holder)
	require(isID, "question/holder", "not a party id: ", q.holder)
	require(len(q.locators) > 0, "question/locators", "say --holder and --locator, or --keepsake")
	for _, l := range q.locators {
		locatorType(l)
	}
	require(slices.Contains(expects, q.expect), "question/expect", q.expect)
	require(slices.Contains(levels, q.level), "question/level", q.level)
	if q.statePolicy != nil {
		apart(q.policy, q.statePolicy)
		apart(q.statePolicy, q.policy)
	}
}

// apart checks that no key of a witness of one policy stands in the other. Both may pin the same log.
func apart(one, other *policy) {
	for _, w := range one.witnesses {
		for _, k := range slices.Concat(other.logs, other.witnesses) {
			require(!bytes.Equal(k.public, w.public), "question/state-policy", "a witness of one stands in the other: ", k.name)
		}
	}
}

// ---- the verdict ------------------------------------------------------------------------------------------

// A verdict leaves out what the steps that ran did not show. Names are those of the section Verdict as JSON.
type verdict struct {
	Outcome         string    `json:"outcome"`
	Code            string    `json:"code"`
	Reason          string    `json:"reason"`
	Kind            string    `json:"kind"`
	Origin          string    `json:"origin"`
	Size            int64     `json:"size"`
	Holder          string    `json:"holder"`
	Claim           string    `json:"claim,omitzero"`
	Anchor          string    `json:"anchor,omitzero"`
	Level           string    `json:"level,omitzero"`
	Systems         []*result `json:"systems"`
	EpochTime       int64     `json:"epoch_time,omitzero"`
	ExistedBy       int64     `json:"existed_by,omitzero"`
	Ended           bool      `json:"ended"`
	Predecessor     string    `json:"predecessor,omitzero"`
	PredecessorSize int64     `json:"predecessor_size,omitzero"`
	Steps           []step    `json:"steps"`
	notes           []string  // for people
}

type step struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Code   string `json:"code"`
}

// A result is about one locator in one system.
type result struct {
	Locator  string   `json:"locator"`
	System   string   `json:"system"`
	Kind     string   `json:"kind"`
	Result   string   `json:"result"`
	NotAsked []string `json:"not_asked"` // locator types that it declares and nobody asked, if it holds anything
	state    *state   // nil: never committed
	place    int64    // of the locator in the bundle
	in       system
}

type asked struct {
	locator, kind string
	place         int // in the bundle
	beta          []byte
}

type system struct {
	id               string
	head, descriptor object
}

var outcomes = []struct {
	name  string // the gravest last
	exit  int
	codes []string
}{
	{"holds", 0, []string{"claim/holds"}},
	{"provisional", 4, []string{"claim/backup", "freshness/old"}},
	{"not-anchored", 5, []string{"checkpoint/unsigned", "checkpoint/foreign", "checkpoint/unpinned", "checkpoint/quorum",
		"checkpoint/state-quorum", "level/too-low"}},
	{"undecided", 1, []string{"bundle/format", "state/unknown-status", "head/unknown-extension", "freshness/clock",
		"keepsake/hold", "file/unreadable"}},
	{"refuted", 3, nil}, // every other code
}

type verification struct {
	*question
	*verdict
	load    func() *bundle
	b       *bundle
	cp      checkpoint
	pinned  []signer // log keys of the policies that signed
	entries []*statement
	logKey  []byte // signs the log's statements
	epoch   object
	head    object  // of the holder
	asked   []asked // in the order asked
	systems []system
	results []*result // for each locator asked, by system
	decoy   bool      // a hold and its tombstone are in the same or neighbouring epochs
}

// verify runs the steps in their order; the first failure ends them.
func verify(q question, load func() *bundle) (*verdict, *bundle) {
	c := &verification{question: &q, verdict: &verdict{Holder: q.holder, Code: "claim/holds"}, load: load}
	for i, s := range []struct {
		name string
		run  func()
	}{
		{"bundle", c.stepBundle}, {"question", c.stepQuestion}, {"checkpoint", c.stepCheckpoint}, {"entries", c.stepEntries},
		{"genesis", c.stepGenesis}, {"epoch", c.stepEpoch}, {"holder", c.stepHolder}, {"index", c.stepIndex},
		{"systems", c.stepSystems}, {"states", c.stepStates}, {"rows", c.stepRows}, {"claim", c.stepClaim},
		{"freshness", c.stepFreshness}, {"level", c.stepLevel},
	} {
		f := catch(s.run)
		c.Steps = append(c.Steps, step{i + 1, s.name, f == nil, s.name})
		if f != nil {
			c.Code, c.Reason, c.Steps[i].Code = f.code, f.detail, f.code
			break
		}
	}
	for _, o := range outcomes {
		if o.codes == nil && c.Outcome == "" || slices.Contains(o.codes, c.Code) {
			c.Outcome = o.name
		}
	}
	return c.verdict, c.b
}

// ---- the steps --------------------------------------------------------------------------------------------

func (c *verification) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *verification) stepBundle() {
	c.b = c.load()
	c.cp = c.b.checkpoint
	c.Kind, c.Origin, c.Size = c.b.kind, c.cp.origin, c.cp.size
}

func (c *verification) stepQuestion() {
	party := at[string](c.b.object, "holder", "party")
	require(party == c.holder, "question/holder", "the bundle is about ", party)
	shows := map[string][]string{"hold": {"held"}, "tombstone": {"erased"}, "lookup": expects[1:],
		"certificate": expects[1:3]}[c.Kind]
	c.expect = cmp.Or(c.expect, shows[0])
	require(slices.Contains(shows, c.expect), "question/kind", "a ", c.Kind, " cannot show ", c.expect)
	one := len(c.locators) == 1 && len(members[any](c.b.object, "locators")) == 1
	require(one || !c.b.single, "question/locators", "a ", c.Kind, " is about one locator")
}

func (c *verification) stepCheckpoint() {
	require(c.cp.size >= 2, "checkpoint/size", c.cp.size)
	require(c.keepsake == nil || c.keepsake["origin"] == c.Origin, "question/origin", "the keepsake is of another log")
	// The lines of all keys in either policy, before anything is said to be missing.
	first, second := c.policy.judge(c.cp), judgement{}
	if c.statePolicy != nil {
		second = c.statePolicy.judge(c.cp)
	}
	if len(c.policy.logs) == 0 {
		c.Anchor = "unpinned"
	}
	require(len(c.policy.logs) > 0, "checkpoint/unpinned", "the policy pins no log key")
	require(first.missing == "", first.missing, "no line of a pinned key of ", c.Origin)
	if c.Anchor = "logged"; first.existedBy > 0 {
		c.Anchor, c.ExistedBy = "witnessed", first.existedBy
	}
	require(first.quorum, "checkpoint/quorum", len(first.witnesses), " witnesses are no quorum")
	c.pinned = slices.Concat(first.logs, second.logs)
	if c.statePolicy == nil {
		return
	}
	require(second.missing == "", second.missing, "no line of a log key that the state policy pins")
	// A quorum of none is met by nobody, and checks nothing.
	require(second.existedBy > 0, "checkpoint/state-quorum", len(second.witnesses), " state witnesses are no quorum")
	if c.Anchor == "witnessed" {
		c.Anchor = "state-checked"
	}
}

func (c *verification) stepEntries() {
	last := int64(-1)
	for _, e := range members[object](c.b.object, "entries") {
		position, raw := at[int64](e, "position"), at[[]byte](e, "entry")
		require(position > last, "bundle/entries", "position ", position, " comes again or too late")
		last = position
		checkInclusion(leafHash(raw), position, c.cp.size, members[[]byte](e, "path"), c.cp.root)
		c.entries = append(c.entries, parseStatement(raw))
		c.entries[len(c.entries)-1].position = position
	}
}

func (c *verification) entry(position int64) *statement {
	i := slices.IndexFunc(c.entries, func(s *statement) bool { return s.position == position })
	require(i >= 0, "bundle/entry-missing", "entry ", position)
	return c.entries[i]
}

func (c *verification) stepGenesis() {
	first := c.entry(0)
	require(first.kind == "log/1" && first.payload["origin"] == c.Origin, "genesis/origin", "entry 0 is ", first.kind)
	keys := at[object](first.payload, "keys")
	c.logKey = at[[]byte](keys, "statements")
	first.verify(c.logKey)
	ed25519, mldsa44 := at[[]byte](keys, "note_ed25519"), at[[]byte](keys, "note_mldsa44")
	for _, s := range c.pinned {
		named := bytes.Equal(s.public, ed25519) || bytes.Equal(s.public, mldsa44)
		require(named, "genesis/keys", "entry 0 does not name the pinned key of ", s.name)
	}
	// A pinned key has signed, so one of these has; what is left to see is that none of their lines is bad.
	c.cp.signers([]vkey{newVkey(c.Origin, typeEd25519, ed25519), newVkey(c.Origin, typeMLDSA44, mldsa44)}, false)
	if p, _ := first.payload["predecessor"].(object); p != nil {
		c.Predecessor, c.PredecessorSize = at[string](p, "origin"), at[int64](p, "size")
		c.note("This log continues %q, from its checkpoint of %d entries: ask there too.", c.Predecessor, c.PredecessorSize)
	}
}

// byLog is what step 6 asks of an entry of the log.
func (c *verification) byLog(e *statement, kind string) object {
	require(e.kind == kind, "entry/kind", "entry ", e.position, " is ", e.kind)
	require(e.issuer == "https://"+c.Origin && e.audience == c.Origin, "entry/issuer", "entry ", e.position)
	e.verify(c.logKey)
	return e.payload
}

func (c *verification) stepEpoch() {
	c.epoch = c.byLog(c.entry(c.cp.size-1), "epoch/1")
	c.EpochTime = at[int64](c.epoch, "time")
	for _, e := range c.epochs() {
		c.byLog(e, "epoch/1")
	}
	for _, e := range c.entries {
		own := e.issuer == "https://"+c.Origin && e.audience == c.Origin
		if own && e.kind == "party-end/1" && e.payload["about"] == nil { // the log's own end
			c.byLog(e, "party-end/1")
			require(e.position == c.cp.size-2, "entry/after-end", "the log ended at entry ", e.position)
			c.Ended = true
			c.note("The log ended with this checkpoint, by its own claim: there is no newer one.")
		}
	}
}

func (c *verification) epochs() []*statement {
	return slices.DeleteFunc(slices.Clone(c.entries), func(s *statement) bool { return s.kind != "epoch/1" })
}

func (c *verification) stepHolder() {
	head, proof := at[[]byte](c.b.object, "holder", "head"), at[[]byte](c.b.object, "holder", "proof")
	bound := lookUp(at[[]byte](c.epoch, "root"), labelled("top-key", []byte(c.holder)), proof)
	require(bound != nil, "holder/absent", "the log has not admitted ", c.holder)
	require(bytes.Equal(bound, labelled("party-head", head)), "holder/head", "the top map binds another head")
	c.head = parseHead(head, partyHead)
	require(c.head["party"] == c.holder, "holder/head", "it is of ", c.head["party"])
	require(c.head["role"] == "holder", "holder/role", c.holder, " is ", c.head["role"])
	party := c.byLog(c.entry(at[int64](c.head, "admitted")), "party/1")
	require(party["id"] == c.holder && party["about"] == c.holder, "holder/admission", "it is of ", party["id"])
	key := labelled("vrf-key", []byte{3}, at[[]byte](c.b.object, "vrf", "key"))
	binds := func(s object) bool { return bytes.Equal(at[[]byte](s, "hash"), key) }
	suite := at[int64](c.b.object, "vrf", "suite")
	require(suite == 3 && slices.ContainsFunc(members[object](c.head, "vrf"), binds), "holder/vrf-key")
	c.note("%s is %q, %q; identity checked by %s at %s.", c.holder, party["name"], party["legal_id"],
		at[string](party, "check", "method"), utc(at[int64](party, "check", "time")))
	if c.head["status"] == int64(2) {
		c.note("%s has ended: its state is frozen.", c.holder)
	}
}

func (c *verification) stepIndex() {
	used := map[int]bool{}
	for _, locator := range c.locators {
		a := asked{locator: locator, kind: locatorType(locator)}
		for i, l := range members[object](c.b.object, "locators") {
			if a.beta == nil && l["type"] == a.kind && !used[i] {
				a.beta = vrfVerify(at[[]byte](c.b.object, "vrf", "key"), alphaOf(locator), at[[]byte](l, "proof"))
				a.place, used[i] = i, a.beta != nil
			}
		}
		require(a.beta != nil, "index/other-locator", "no VRF proof left is of this ", a.kind)
		c.asked = append(c.asked, a)
	}
}

// stepSystems shows that the heads are all that the holder's head counts and binds, before it reads them.
func (c *verification) stepSystems() {
	if c.b.single {
		return
	}
	shown, bound, last := members[object](c.b.object, "systems"), []binding(nil), ""
	for _, s := range shown {
		head := at[[]byte](s, "head")
		m, _ := parseCBOR(head).(object)
		id, named := m["system"].(string)
		require(named, "head/fields", "a head that names no system")
		require(last < id, "systems/order", id, " comes again or too late")
		last = id
		bound = append(bound, binding{labelled("system-key", []byte(id)), labelled("system-head", head)})
	}
	require(int64(len(bound)) == at[int64](c.head, "systems", "count"), "systems/count", len(bound), " are shown")
	slices.SortFunc(bound, func(a, b binding) int { return bytes.Compare(a.key, b.key) })
	require(bytes.Equal(mapRoot(bound, 0), at[[]byte](c.head, "systems", "root")), "systems/root")
	for _, s := range shown {
		head, d := parseHead(at[[]byte](s, "head"), systemHead), at[[]byte](s, "descriptor")
		id := at[string](head, "system")
		require(bytes.Equal(labelled("descriptor", d), at[[]byte](head, "descriptor")), "systems/descriptor", id)
		fields := shaped(parseCBOR(d), descriptor, "statement/field")
		require(fields["id"] == id, "systems/descriptor", "the one of ", id, " is of ", fields["id"])
		c.systems = append(c.systems, system{id, head, fields})
		if head["status"] == int64(2) {
			c.note("System %s is retired: its state is frozen.", id)
		}
	}
}

// stepStates judges what was asked; the states of other locators only have to be in place.
func (c *verification) stepStates() {
	if c.b.single {
		return
	}
	states, n := members[object](c.b.object, "states"), len(c.systems)
	fits := len(states) == n*len(members[any](c.b.object, "locators"))
	for i := 0; fits && i < len(states); i++ {
		fits = states[i]["locator"] == int64(i/n) && states[i]["system"] == c.systems[i%n].id
	}
	require(fits, "states/order")
	var encoded [][]byte
	for _, a := range c.asked {
		for i, s := range c.systems {
			found := states[a.place*n+i]
			key := labelled("key", indexOf(c.holder, s.id, a.beta))
			bound := lookUp(at[[]byte](s.head, "root"), key, at[[]byte](found, "proof"))
			shown, _ := found["state"].([]byte)
			require(bound != nil || shown == nil, "states/absent", s.id)
			require(bound == nil || bytes.Equal(bound, labelled("state", shown)), "states/value", s.id)
			encoded = append(encoded, shown)
			c.results = append(c.results, &result{Locator: a.locator, System: s.id, place: int64(a.place), in: s})
		}
	}
	for i, r := range c.results {
		if encoded[i] != nil {
			r.state = parseState(encoded[i])
		}
	}
	c.checkKeepsake()
}

// checkKeepsake judges all holds of the keepsake: one that contradicts provably goes before one that is not proven.
func (c *verification) checkKeepsake() {
	if c.keepsake == nil {
		return
	}
	locator, unproven := at[string](c.keepsake, "locator"), ""
	for _, h := range members[object](c.keepsake, "holds") {
		id, position := at[string](h, "system"), at[int64](h, "entry")
		shows := func(r *result) bool {
			return r.Locator == locator && r.System == id && r.state != nil && r.state.position >= uint64(position)
		}
		if position >= c.Size || slices.ContainsFunc(c.results, shows) {
			continue
		}
		proof, b := verify(question{policy: c.policy, holder: c.holder, locators: []string{locator}, level: "A1",
			now: c.now}, func() *bundle { return h["bundle"].(*bundle) })
		row := members[object](b.object, "rows")[0]
		fits := b.checkpoint.origin == c.Origin && row["system"] == id && row["entry"] == position
		require(proof.Outcome != "holds" || !fits, "states/keepsake", "entry ", position, " holds it in ", id)
		unproven = fmt.Sprintf("entry %d in %s is not shown here, and no hold there: %s", position, id, proof.Code)
	}
	require(unproven == "", "keepsake/hold", unproven)
}

// row checks one row of a locator: what it is a row of, and that it is in its row file.
func (c *verification) row(r object, kind string, beta []byte) {
	position, id := at[int64](r, "entry"), at[string](r, "system")
	e := c.entry(position)
	require(e.kind == kind, "rows/kind", "entry ", position, " is ", e.kind)
	require(e.issuer == "https://"+c.holder && e.stream == id, "rows/issuer", "entry ", position)
	require(e.audience == c.Origin, "rows/audience", "entry ", position)
	keys := members[object](c.head, "keys")
	signs := func(k object) bool {
		until, ends := k["until"].(int64)
		inForce := at[int64](k, "from") <= position && (!ends || position < until)
		return k["use"] == "sign" && inForce && bytes.Equal(thumbprint(at[[]byte](k, "key")), e.kid)
	}
	i := slices.IndexFunc(keys, signs)
	require(i >= 0, "rows/key", "entry ", position, " is signed by no signing key in force")
	e.verify(at[[]byte](keys[i], "key"))
	leaf := leafHash(append(indexOf(c.holder, id, beta), at[[]byte](r, "commitment")...))
	count, root := at[int64](e.payload, "count"), at[[]byte](e.payload, "root")
	checkInclusion(leaf, at[int64](r, "position"), count, members[[]byte](r, "path"), root)
}

func (c *verification) stepRows() {
	rows := members[object](c.b.object, "rows")
	if c.b.single {
		require(rows[0]["locator"] == int64(0), "rows/order", "locator ", rows[0]["locator"])
		c.row(rows[0], c.Kind+"/1", c.asked[0].beta)
		return
	}
	if c.Kind == "lookup" {
		return
	}
	// A state that was not asked is not proven, and counts as what it says.
	erasures := slices.DeleteFunc(members[object](c.b.object, "states"), func(s object) bool {
		b, _ := s["state"].([]byte)
		return b == nil || b[0] != erased
	})
	fits := len(rows) == 2*len(erasures)
	for i := 0; fits && i < len(rows); i++ {
		fits = rows[i]["locator"] == erasures[i/2]["locator"] && rows[i]["system"] == erasures[i/2]["system"]
	}
	require(fits, "rows/order", "not a hold and a tombstone per erased state, in order")
	for i, s := range erasures {
		for _, r := range c.results {
			if r.place == s["locator"] && r.System == s["system"] {
				c.erasure(r, rows[2*i], rows[2*i+1])
			}
		}
	}
}

func (c *verification) erasure(r *result, hold, tombstone object) {
	beta := c.asked[slices.Index(c.locators, r.Locator)].beta
	c.row(hold, "hold/1", beta)
	c.row(tombstone, "tombstone/1", beta)
	from, to := at[int64](hold, "entry"), at[int64](tombstone, "entry")
	gone := at[[]byte](tombstone, "commitment")
	require(uint64(to) == r.state.position && bytes.Equal(gone, r.state.commitment), "rows/state", "entry ", to)
	require(from < to && bytes.Equal(gone, at[[]byte](hold, "commitment")), "rows/hold", "entry ", from)
	after, before := int64(math.MaxInt64), int64(-1) // the least number after the hold, the greatest before the tombstone
	for _, e := range c.epochs() {
		number := at[int64](e.payload, "number")
		if e.position > from {
			after = min(after, number)
		}
		if e.position < to {
			before = max(before, number)
		}
	}
	c.decoy = c.decoy || before <= after
}

// judge names what a system says: the section Results.
func (c *verification) judge(r *result) {
	empty, indexed := r.in.head["held"] == int64(0), false
	r.NotAsked, r.Kind, r.Result = []string{}, at[string](r.in.descriptor, "kind"), "never-committed"
	for _, t := range members[string](r.in.descriptor, "locators") {
		here := slices.ContainsFunc(c.asked, func(a asked) bool { return a.kind == t })
		if indexed = indexed || here; !here && !empty {
			r.NotAsked = append(r.NotAsked, t)
		}
	}
	switch {
	case r.state != nil && r.state.status == held:
		r.Result = "held"
	case r.state != nil:
		r.Result = "erased"
	case empty:
		r.Result = "empty"
	case !indexed:
		r.Result = "not-indexed"
	}
}

func (c *verification) any(named ...string) bool {
	return slices.ContainsFunc(c.Systems, func(r *result) bool { return slices.Contains(named, r.Result) })
}

func (c *verification) stepClaim() {
	for _, r := range c.results {
		c.judge(r)
	}
	c.Systems = c.results
	certificate := c.Kind == "certificate"
	switch {
	case c.b.single:
		c.Claim = map[string]string{"hold": "held", "tombstone": "erased"}[c.Kind]
	case len(c.systems) == 0:
		c.Claim = "nothing-registered"
	case c.expect == "held" && c.any("held"):
		c.Claim = "held"
	case c.any("held", "not-indexed"):
		c.Claim = "not-excluded"
	default:
		c.Claim = "excluded"
	}
	c.Level = map[string]string{"logged": "A1", "witnessed": "A2", "state-checked": "A2"}[c.Anchor]
	if c.Anchor == "state-checked" && c.Claim == "excluded" && !c.decoy {
		c.Level = "A3"
	}
	switch {
	case c.b.single:
	case c.expect == "held":
		require(c.Claim == "held", "claim/not-held", "no system holds it")
	default:
		require(c.Claim != "nothing-registered", "claim/nothing-registered", c.holder, " has no systems")
		require(c.Claim == "excluded" || c.onlyBackups(), "claim/not-excluded", "held, or not indexed by what was asked")
		require(c.expect != "erased" && !certificate || c.any("erased"), "claim/not-erased", "no system has erased it")
		for _, r := range c.Systems {
			require(!certificate || len(r.NotAsked) == 0, "claim/type-not-asked", r.System, " also indexes by ", r.NotAsked)
		}
		require(c.Claim == "excluded", "claim/backup", "only a backup holds it, within its declared cycle")
	}
}

// onlyBackups says whether all systems are indexed, and those that hold are backups whose declared cycle is not over. It
// counts from an epoch before the locator's newest erasure: one that is left out of the bundle only shortens it.
func (c *verification) onlyBackups() bool {
	since := map[string]int64{} // by locator
	for _, r := range c.results {
		for _, e := range c.epochs() {
			if r.Result == "erased" && uint64(e.position) < r.state.position {
				since[r.Locator] = max(since[r.Locator], at[int64](e.payload, "time"))
			}
		}
	}
	for _, r := range c.results {
		cycle, declared := r.in.descriptor["backup_cycle"].(int64)
		start, known := since[r.Locator]
		within := r.Kind == "backup" && declared && known && start+cycle >= c.now
		if r.Result == "not-indexed" || r.Result == "held" && !within {
			return false
		}
	}
	return true
}

func (c *verification) stepFreshness() {
	const leeway = 300 // seconds
	since := c.EpochTime
	require(since <= c.now+leeway, "freshness/clock", "the epoch is of ", utc(since))
	if c.ExistedBy > 0 {
		since = c.ExistedBy
	}
	require(since <= c.now+leeway, "freshness/clock", "cosigned at ", utc(since))
	require(c.b.single || c.now-since <= c.maxAge, "freshness/old", "the checkpoint is of ", utc(since))
}

func (c *verification) stepLevel() {
	require(c.Level >= c.level, "level/too-low", c.Level, " is reached, ", c.level, " was asked")
}

// ---- the command ------------------------------------------------------------------------------------------

func utc(at int64) string { return time.Unix(at, 0).UTC().Format(time.RFC3339) }

func (v *verdict) print(w io.Writer, q *question) {
	fmt.Fprintf(w, "%s\t%s\t%s\n", v.Outcome, v.Code, v.Reason)
	asked := strings.Join(q.locators, ", ")
	if v.Claim != "" {
		fmt.Fprintf(w, "At checkpoint %d of log %s, %s\n", v.Size, v.Origin, map[string]string{
			"held":               v.Holder + " has committed to holding " + asked + ".",
			"erased":             v.Holder + " has declared " + asked + " erased from one system.",
			"excluded":           v.Holder + "'s committed inventory has no live entry for " + asked + ".",
			"not-excluded":       v.Holder + "'s committed inventory does not exclude " + asked + ".",
			"nothing-registered": v.Holder + " has registered no system.",
		}[v.Claim])
		for _, r := range v.Systems {
			fmt.Fprintf(w, "  %s (%s): %s: %s, not asked: %v\n", r.System, r.Kind, r.Locator, r.Result, r.NotAsked)
		}
		v.notes = append(v.notes, "The log says this was at "+utc(v.EpochTime)+".", "Anchor: "+v.Anchor+". Level: "+v.Level+".")
		if v.ExistedBy > 0 {
			v.notes = append(v.notes, "Witnesses of the policy say it existed by "+utc(v.ExistedBy)+".")
		}
		if v.Anchor != "state-checked" {
			v.notes = append(v.notes, "State and keys are as the operator of the log computed them; nobody else was asked.")
		}
		fmt.Fprintln(w, strings.Join(v.notes, "\n"))
	}
	fmt.Fprintln(w, "Not proven: that what was never committed does not exist, or that what is declared erased is gone.")
}

// readFile reads one byte more than allowed, which is refused where the file is parsed.
func readFile(name string) []byte {
	f, err := os.Open(name)
	require(err == nil, "file/unreadable", err)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	require(err == nil, "file/unreadable", err)
	return b
}

func run(args []string, out, problems io.Writer) int {
	q, bundles, asJSON := question{}, []string(nil), false
	f := flag.NewFlagSet("verify BUNDLE...", flag.ContinueOnError)
	f.SetOutput(problems)
	file := func(name, usage string, use func([]byte)) {
		f.Func(name, usage, func(name string) error {
			if wrong := catch(func() { use(readFile(name)) }); wrong != nil {
				return wrong
			}
			return nil
		})
	}
	file("policy", "C2SP tlog-policy `file`: whose signatures count", func(b []byte) { q.policy = parsePolicy(b) })
	file("state-policy", "policy `file` of state witnesses", func(b []byte) { q.statePolicy = parsePolicy(b) })
	file("keepsake", "keepsake `file` of the data subject", func(b []byte) { q.keepsake = parseKeepsake(b) })
	f.StringVar(&q.holder, "holder", "", "party `id` asked")
	f.Func("locator", "`type:value` asked; may be repeated", func(s string) error {
		q.locators = append(q.locators, s)
		return nil
	})
	f.StringVar(&q.expect, "expect", "", "`claim` expected: excluded, erased or held (default: what the kind shows)")
	f.StringVar(&q.level, "level", "A1", "least `level`, A0 to A3")
	f.Int64Var(&q.maxAge, "max-age", 86400, "greatest age in `seconds`")
	f.Int64Var(&q.now, "at", time.Now().Unix(), "`time` of the verifier in Unix seconds")
	f.BoolVar(&asJSON, "json", false, "print the verdicts as JSON")
	for len(args) > 0 { // flags and bundles in any order
		if f.Parse(args) != nil {
			return 2
		}
		if args = f.Args(); len(args) > 0 {
			bundles, args = append(bundles, args[0]), args[1:]
		}
	}
	wrong := catch(func() {
		require(q.policy != nil && len(bundles) > 0, "question/usage", "name bundles, and say whom you trust by --policy")
		q.check()
	})
	if wrong != nil {
		fmt.Fprintln(problems, wrong)
		f.Usage()
		return 2
	}
	gravest := 0
	for _, name := range bundles {
		v, _ := verify(q, func() *bundle { return parseBundle(readFile(name)) })
		if asJSON {
			json.MarshalWrite(out, v, jsontext.Multiline(true))
			fmt.Fprintln(out)
		} else {
			v.print(out, &q)
		}
		for i, o := range outcomes {
			if o.name == v.Outcome {
				gravest = max(gravest, i)
			}
		}
	}
	return outcomes[gravest].exit
}

// modes are added by vectors.go; the verifier needs none.
var modes = map[string]func(arg string, in io.Reader, out io.Writer) int{}

func main() {
	if len(os.Args) == 3 && modes[os.Args[1]] != nil {
		os.Exit(modes[os.Args[1]](os.Args[2], os.Stdin, os.Stdout))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
