package main

// The published vectors have no case for some codes of verify.md. This test makes a small log of its own and gives
// each of them a reason to come up. Nothing here is a vector: the log is made by the code under test's own encoders.

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	testLog    = "log.test/1"
	testHolder = "shop.example"
	testPerson = "email:ada@example.org"
	testNow    = int64(1790000100)
)

func testKey(n byte) ed25519.PrivateKey  { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
func public(k ed25519.PrivateKey) []byte { return k.Public().(ed25519.PublicKey) }

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// A world is what the tweaks of a case change.
type world struct {
	kind                             string // of the bundle
	genesisKind, epochKind           string
	genesisOrigin, epochAud, epochIs string
	note                             ed25519.PrivateKey // signs the checkpoint
	role, admitted                   string
	other                            []byte // of the holder's head
	system                           object // changes to the head of db
	types                            []any  // locator types of db
	status                           byte
	rowAud, rowIss                   string
	rowKey                           ed25519.PrivateKey
	until                            any  // of the holder's signing key
	apart                            bool // an epoch more between hold and tombstone
	topKey                           string
	cosigned                         map[string]uint64 // by witnesses
	size                             uint64            // said instead of the true one
	edit                             func(m map[string]any)
	ask                              func(q *question)
}

var witnessKeys = map[string]ed25519.PrivateKey{"wit.test/1": testKey(20), "wit.test/2": testKey(21)}

func testVkey(name string, kind byte, k ed25519.PrivateKey) vkey {
	return newVkey(name, kind, public(k))
}

func testPolicy(logs int, witnesses ...string) *policy {
	text, names := "", []string{}
	if logs > 0 {
		text = "log " + testVkey(testLog, typeEd25519, testKey(3)).spell() + "\n"
	}
	for i, w := range witnesses {
		names = append(names, fmt.Sprint("w", i))
		text += "witness " + names[i] + " " + testVkey(w, typeCosignature, witnessKeys[w]).spell() + "\n"
	}
	if len(names) > 0 {
		text += "group g all " + strings.Join(names, " ") + "\nquorum g\n"
	} else {
		text += "quorum none\n"
	}
	return parsePolicy([]byte(text))
}

func sign(k ed25519.PrivateKey, iss, sub, aud string, iat int64, payload object) []byte {
	protected := encodeCBOR(object{"\xff1": int64(-19), "\xff3": "application/vnd.attest.statement+cbor",
		"\xff4": thumbprint(public(k)), "\xff16": "application/scitt-statement+cose",
		"\xff15": object{"\xff1": iss, "\xff2": sub, "\xff3": aud, "\xff6": iat}})
	body := encodeCBOR(payload)
	signed := append(append([]byte("\x84\x6aSignature1"), bstr(protected)...), append([]byte{0x40}, bstr(body)...)...)
	out := append([]byte{0xd2, 0x84}, bstr(protected)...)
	out = append(append(out, 0xa0), bstr(body)...)
	return append(out, bstr(ed25519.Sign(k, signed))...)
}

func inclusionPath(entries [][]byte, i int) (path []any) {
	if len(entries) < 2 {
		return []any{}
	}
	k := 1
	for 2*k < len(entries) {
		k *= 2
	}
	if i < k {
		return append(inclusionPath(entries[:k], i), b64(treeRoot(entries[k:])))
	}
	return append(inclusionPath(entries[k:], i-k), b64(treeRoot(entries[:k])))
}

func onlyLeaf(key, value []byte) []byte { return append(append([]byte{0, 1}, key...), value...) }

func (w *world) build() ([]byte, question) {
	logIss := "https://" + testLog
	logKey, holderKey, recovery := testKey(1), testKey(4), testKey(5)
	secret := bytes.Repeat([]byte{9}, 32)
	vrf, _ := vrfProve(secret, alphaOf(testPerson))
	index := indexOf(testHolder, "db", vrf["beta"])
	commitment := sha([]byte("commitment"))
	row := append(bytes.Clone(index), commitment...)
	vrfHash := labelled("vrf-key", []byte{3}, vrf["pk"])

	var entries [][]byte
	add := func(e []byte) int64 { entries = append(entries, e); return int64(len(entries) - 1) }
	logSays := func(iat int64, payload object) int64 {
		return add(sign(logKey, w.epochIs, w.epochIs, w.epochAud, iat, payload))
	}
	epochs := int64(0)
	epoch := func(root []byte) int64 {
		if epochs++; w.epochKind != "epoch/1" {
			return logSays(testNow, object{"kind": w.epochKind, "seq": int64(0)})
		}
		return logSays(testNow-60+epochs, object{"kind": w.epochKind, "seq": int64(0), "number": epochs - 1,
			"time": testNow - 60 + epochs, "root": root})
	}
	add(sign(logKey, logIss, logIss, testLog, testNow-60, object{"kind": "log/1", "seq": int64(0), "origin": w.genesisOrigin,
		"keys": object{"statements": public(logKey), "receipts": public(testKey(2)), "note_ed25519": public(testKey(3)),
			"note_mldsa44": make([]byte, 1312)},
		"limits":      object{"rows": int64(10), "statement": int64(16384), "skew": int64(1), "silence": int64(60)},
		"predecessor": nil}))
	if w.genesisKind != "log/1" {
		entries[0] = sign(logKey, logIss, logIss, testLog, testNow, object{"kind": "party-end/1", "seq": int64(0)})
	}
	admittedAt := logSays(testNow-60, object{"kind": "party/1", "seq": int64(1), "about": w.admitted, "id": w.admitted,
		"role": "holder", "name": "Shop", "legal_id": "LEI 1", "check": object{"method": "domain", "time": testNow - 60},
		"keys": []any{object{"key": public(holderKey), "use": "sign", "proof": make([]byte, 64)},
			object{"key": public(recovery), "use": "recover", "proof": make([]byte, 64)}},
		"vrf": []any{object{"suite": int64(3), "hash": vrfHash}}})
	descriptor := encodeCBOR(object{"id": "db", "kind": "database", "assets": []any{}, "locators": w.types, "retention": nil,
		"backup_cycle": nil, "processor_log": nil, "retired": false})
	says := func(payload object) int64 {
		payload["seq"], payload["count"], payload["root"] = int64(0), int64(1), leafHash(row)
		return add(sign(w.rowKey, w.rowIss, "db", w.rowAud, testNow-60, payload))
	}
	hold := says(object{"kind": "hold/1", "cause": "collected"})
	epoch(zeros)
	if w.apart {
		epoch(zeros)
	}
	tombstone := says(object{"kind": "tombstone/1", "erased_at": testNow - 60, "method": "overwritten", "level": "none",
		"ground": "gdpr:17"})
	current := append([]byte{w.status}, 0, 0, 0, 1, 0, 0, 0, 1)
	current = append(binary.BigEndian.AppendUint64(current, uint64(tombstone)), commitment...)

	db := object{"system": "db", "status": int64(1), "descriptor": labelled("descriptor", descriptor),
		"root": mapLeaf(labelled("key", index), labelled("state", current)), "held": int64(1), "erased": int64(1),
		"reheld": int64(0), "entries": int64(2), "chain": zeros, "other": zeros}
	for k, v := range w.system {
		db[k] = v
	}
	dbHead := encodeCBOR(db)
	party := encodeCBOR(object{"party": testHolder, "role": w.role, "status": int64(1), "admitted": admittedAt,
		"own": int64(0), "recovery": int64(0), "keys": []any{
			object{"key": public(holderKey), "use": "sign", "from": int64(0), "until": w.until},
			object{"key": public(recovery), "use": "recover", "from": int64(0), "until": nil}},
		"vrf": []any{object{"suite": int64(3), "hash": vrfHash}}, "entries": int64(1), "chain": zeros, "other": w.other,
		"systems": object{"count": int64(1),
			"root": mapLeaf(labelled("system-key", []byte("db")), labelled("system-head", dbHead))}})
	topKey, topValue := labelled("top-key", []byte(w.topKey)), labelled("party-head", party)
	epoch(mapLeaf(topKey, topValue))

	size := uint64(len(entries))
	if w.size > 0 {
		size = w.size
	}
	cp := checkpoint{origin: testLog, size: int64(size), root: treeRoot(entries)}
	cp.text = fmt.Sprintf("%s\n%d\n%s\n", testLog, size, b64(cp.root))
	line := func(k vkey, signature []byte) string {
		return "— " + k.name + " " + b64(append(slices.Clone(k.id), signature...)) + "\n"
	}
	signed := cp.text + "\n" + line(testVkey(testLog, typeEd25519, w.note), ed25519.Sign(w.note, []byte(cp.text)))
	for name, at := range w.cosigned {
		k := testVkey(name, typeCosignature, witnessKeys[name])
		signed += line(k, append(binary.BigEndian.AppendUint64(nil, at), ed25519.Sign(witnessKeys[name], cp.message(k, int64(at)))...))
	}

	var shown, systems, states, rows []any
	for i := range entries {
		shown = append(shown, map[string]any{"position": i, "entry": b64(entries[i]), "path": inclusionPath(entries, i)})
	}
	rowAt := func(entry int64) any {
		return map[string]any{"locator": 0, "system": "db", "entry": entry, "position": 0, "commitment": b64(commitment),
			"path": []any{}}
	}
	switch w.kind {
	case "hold":
		rows = []any{rowAt(hold)}
	case "tombstone":
		rows = []any{rowAt(tombstone)}
	case "certificate":
		rows = []any{rowAt(hold), rowAt(tombstone)}
		fallthrough
	case "lookup":
		systems = []any{map[string]any{"head": b64(dbHead), "descriptor": b64(descriptor)}}
		states = []any{map[string]any{"locator": 0, "system": "db", "state": b64(current),
			"proof": b64(onlyLeaf(labelled("key", index), labelled("state", current)))}}
	}
	none := func(l []any) []any { return append([]any{}, l...) }
	m := map[string]any{"checkpoint": signed, "entries": shown, "format": "attest-bundle/1", "kind": w.kind,
		"holder":   map[string]any{"party": testHolder, "head": b64(party), "proof": b64(onlyLeaf(topKey, topValue))},
		"vrf":      map[string]any{"suite": 3, "key": b64(vrf["pk"])},
		"locators": []any{map[string]any{"type": "email", "proof": b64(vrf["pi"])}},
		"systems":  none(systems), "states": none(states), "rows": none(rows)}
	if w.edit != nil {
		w.edit(m)
	}
	data, _ := json.Marshal(m)
	data = append([]byte(`{"format":"attest-bundle/1",`), bytes.Replace(data[1:], []byte(`"format":"attest-bundle/1",`), nil, 1)...)
	q := question{policy: testPolicy(1), holder: testHolder, locators: []string{testPerson}, level: "A1", maxAge: 86400,
		now: testNow}
	if w.ask != nil {
		w.ask(&q)
	}
	return data, q
}

func TestCodes(t *testing.T) {
	both := map[string]uint64{"wit.test/1": uint64(testNow), "wit.test/2": uint64(testNow)}
	states := func(level string) func(*question) {
		return func(q *question) {
			q.policy, q.statePolicy, q.level = testPolicy(1, "wit.test/1"), testPolicy(1, "wit.test/2"), level
		}
	}
	entry := func(m map[string]any, i int) map[string]any { return m["entries"].([]any)[i].(map[string]any) }
	for _, test := range []struct {
		name, code, level string
		tweak             func(w *world)
	}{
		{"certificate", "claim/holds", "A1", func(w *world) {}},
		{"lookup", "claim/holds", "A1", func(w *world) { w.kind = "lookup" }},
		{"hold", "claim/holds", "A1", func(w *world) { w.kind = "hold" }},
		{"tombstone", "claim/holds", "A1", func(w *world) { w.kind = "tombstone" }},
		{"witnessed", "claim/holds", "A2", func(w *world) {
			w.cosigned, w.ask = both, func(q *question) { q.policy = testPolicy(1, "wit.test/1", "wit.test/2") }
		}},
		{"neighbouring epochs", "level/too-low", "A2", func(w *world) { w.cosigned, w.ask = both, states("A3") }},
		{"epochs apart", "claim/holds", "A3", func(w *world) { w.apart, w.cosigned, w.ask = true, both, states("A3") }},
		{"an epoch left out", "level/too-low", "A2", func(w *world) {
			w.apart, w.cosigned, w.ask = true, both, states("A3")
			w.edit = func(m map[string]any) { e := m["entries"].([]any); m["entries"] = append(e[:4:4], e[5:]...) }
		}},
		{"tombstone is no more than A2", "level/too-low", "A2", func(w *world) { w.kind, w.cosigned, w.ask = "tombstone", both, states("A3") }},
		{"state quorum of none", "checkpoint/state-quorum", "", func(w *world) {
			w.apart, w.cosigned = true, both
			w.ask = func(q *question) { states("A3")(q); q.statePolicy = testPolicy(1) }
		}},
		{"witness in the future", "freshness/clock", "A2", func(w *world) {
			w.cosigned = map[string]uint64{"wit.test/1": uint64(testNow) + 301}
			w.ask = func(q *question) { q.policy = testPolicy(1, "wit.test/1") }
		}},
		{"a size of one", "checkpoint/size", "", func(w *world) { w.size = 1 }},
		{"another note key", "checkpoint/unsigned", "", func(w *world) { w.note = testKey(7) }},
		{"keepsake of another log", "question/origin", "", func(w *world) {
			w.ask = func(q *question) { q.keepsake = object{"origin": "x", "holder": testHolder, "locator": testPerson} }
		}},
		{"two locators of a hold", "question/locators", "", func(w *world) {
			w.kind, w.ask = "hold", func(q *question) { q.locators = append(q.locators, "record:1") }
		}},
		{"entry 0 is another kind", "genesis/origin", "", func(w *world) { w.genesisKind = "" }},
		{"entry 0 of another log", "genesis/origin", "", func(w *world) { w.genesisOrigin = "other.test/1" }},
		{"a pinned key that entry 0 does not name", "genesis/keys", "", func(w *world) {
			w.note, w.ask = testKey(7), func(q *question) { q.policy.logs[0] = testVkey(testLog, typeEd25519, testKey(7)) }
		}},
		{"no epoch at the end", "entry/kind", "", func(w *world) { w.epochKind = "party-end/1" }},
		{"an epoch for another log", "entry/issuer", "", func(w *world) { w.epochAud = "other.test/1" }},
		{"an epoch by another issuer", "entry/issuer", "", func(w *world) { w.epochIs = "https://shop.example" }},
		{"nobody of this name", "holder/absent", "", func(w *world) { w.topKey = "other.example" }},
		{"an auditor", "holder/role", "", func(w *world) { w.role = "auditor" }},
		{"another's admission", "holder/admission", "", func(w *world) { w.admitted = "other.example" }},
		{"an extension of the holder", "head/unknown-extension", "", func(w *world) { w.other = sha() }},
		{"an extension of a system", "head/unknown-extension", "", func(w *world) { w.system = object{"other": sha()} }},
		{"a status of a system", "head/unknown-extension", "", func(w *world) { w.system = object{"status": int64(3)} }},
		{"fields of a system", "head/fields", "", func(w *world) { w.system = object{"held": "many"} }},
		{"an unknown status", "state/unknown-status", "", func(w *world) { w.status = 3; w.kind = "lookup" }},
		{"a row for another log", "rows/audience", "", func(w *world) { w.rowAud = "other.test/1" }},
		{"a row by another holder", "rows/issuer", "", func(w *world) { w.rowIss = "https://other.example" }},
		{"a key revoked before", "rows/key", "", func(w *world) { w.until = int64(2) }},
		{"a key revoked in between", "rows/key", "", func(w *world) { w.until = int64(3) }},
		{"a key revoked after", "claim/holds", "A1", func(w *world) { w.until = int64(5) }},
		{"a recovery key", "rows/key", "", func(w *world) { w.rowKey = testKey(5) }},
		{"another key", "rows/key", "", func(w *world) { w.rowKey = testKey(6) }},
		{"a short commitment", "encoding/base64", "", func(w *world) {
			w.kind, w.edit = "hold", func(m map[string]any) { m["rows"].([]any)[0].(map[string]any)["commitment"] = "AA==" }
		}},
		{"a type that was not asked", "claim/type-not-asked", "A1", func(w *world) { w.types = []any{"email", "phone"} }},
		{"a type not asked of an empty system", "claim/holds", "A1", func(w *world) {
			w.types, w.system = []any{"email", "phone"}, object{"held": int64(0)}
		}},
		{"a look-up may leave types out", "claim/holds", "A1", func(w *world) { w.kind, w.types = "lookup", []any{"email", "phone"} }},
		{"expected erased", "claim/holds", "A1", func(w *world) { w.kind, w.ask = "lookup", func(q *question) { q.expect = "erased" } }},
		{"an unused proof of another type", "states/order", "", func(w *world) {
			w.edit = func(m map[string]any) {
				m["locators"] = append(m["locators"].([]any), map[string]any{"type": "phone", "proof": b64(make([]byte, 80))})
			}
		}},
		{"states of a locator not asked", "claim/holds", "A1", func(w *world) {
			w.kind = "lookup"
			w.edit = func(m map[string]any) {
				m["locators"] = append(m["locators"].([]any), map[string]any{"type": "phone", "proof": b64(make([]byte, 80))})
				m["states"] = append(m["states"].([]any), map[string]any{"locator": 1, "system": "db", "state": nil, "proof": "AA=="})
			}
		}},
		{"an entry that is no statement", "inclusion/root-mismatch", "", func(w *world) {
			w.edit = func(m map[string]any) { entry(m, 3)["entry"] = "AA==" }
		}},
		{"two systems", "systems/order", "", func(w *world) {
			w.edit = func(m map[string]any) { m["systems"] = append(m["systems"].([]any), m["systems"].([]any)...) }
		}},
	} {
		w := &world{kind: "certificate", genesisKind: "log/1", epochKind: "epoch/1", genesisOrigin: testLog, epochAud: testLog,
			epochIs: "https://" + testLog, note: testKey(3), role: "holder", admitted: testHolder, other: zeros,
			types: []any{"email"}, status: erased, rowAud: testLog, rowIss: "https://" + testHolder, rowKey: testKey(4),
			topKey: testHolder}
		test.tweak(w)
		data, q := w.build()
		q.check()
		v, _ := verify(q, func() *bundle { return parseBundle(data) })
		if v.Code != test.code || v.Level != test.level {
			t.Errorf("%s: %s %s, not %s %s (%s)", test.name, v.Code, v.Level, test.code, test.level, v.Reason)
		}
	}
}

func TestWitnessInBothPolicies(t *testing.T) {
	q := question{policy: testPolicy(1, "wit.test/1"), statePolicy: testPolicy(0, "wit.test/1"), holder: testHolder,
		locators: []string{testPerson}, level: "A1"}
	if f := catch(q.check); f == nil || f.code != "question/state-policy" {
		t.Error("a witness in both policies")
	}
}
