package main

// The runner of the published test vectors, and those parts of the specification that have vectors and that a verifier
// of bundles does not need: consistency, frontiers, tiles, pruned trees, row files, table rows, `.tlog-proof`.

import (
	"bufio"
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/big"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"filippo.io/edwards25519"
)

func init() {
	modes["--vectors"] = func(dir string, _ io.Reader, out io.Writer) int { return vectors(dir, out) }
	modes["--batch"] = batch
}

func newFault(code, format string, args ...any) error {
	return &fault{code, fmt.Sprintf(format, args...)}
}

func codeOf(err error) string {
	if f := (*fault)(nil); errors.As(err, &f) {
		return f.code
	}
	return ""
}

// A testCase gives its parts; what is missing or of another kind is zero.
type testCase map[string]any

func (c testCase) has(name string) bool    { return c[name] != nil }
func (c testCase) text(name string) string { s, _ := c[name].(string); return s }
func (c testCase) list(name string) []any  { l, _ := c[name].([]any); return l }
func (c testCase) hex(name string) []byte  { return unhex(c[name]) }

func (c testCase) sub(name string) testCase { m, _ := c[name].(map[string]any); return m }

func unhex(v any) []byte {
	s, _ := v.(string)
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("vectors: not hex: " + s) // in files of our own, not in anything judged
	}
	return b
}

func (c testCase) hexes(name string) (all [][]byte) {
	for _, v := range c.list(name) {
		all = append(all, unhex(v))
	}
	return all
}

// num reads a JSON number or decimal text; a number below zero becomes one beyond every limit.
func (c testCase) num(name string) uint64 {
	s := fmt.Sprint(c[name])
	if strings.HasPrefix(s, "-") {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}

// wire is text or, where that is not UTF-8, base64.
func (c testCase) wire(name string) []byte {
	if c.has(name) {
		return []byte(c.text(name))
	}
	b, _ := base64.StdEncoding.DecodeString(c.text(name + "_base64"))
	return b
}

// same gives an error, which is no fault and so always a disagreement, unless got and want are the same.
func same(what string, got, want any) error {
	if b, ok := got.([]byte); ok {
		got = hex.EncodeToString(b)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s is %.300v, not %.300v", what, got, want)
	}
	return nil
}

// all gives the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// skipped says which folders are not for a verifier of bundles.
var skipped = map[string]string{
	"transition": "transition proofs replay the rules; no bundle has one",
	"sample":     "samples are about what is held, and not about a bundle",
}

var runners = map[string]func(testCase) error{
	"encoding/texts.json": runTexts, "encoding/cbor.json": runCBOR, "encoding/labelled.json": runLabelled,
	"locators/canonical.json": runCanonical, "locators/normalised.json": runNormalised,
	"vrf/rfc9381-b3.json": runVRF, "vrf/proofs.json": runVRF, "vrf/refused.json": runVRFRefused,
	"commitments/chain.json": runChain, "commitments/record-digests.json": runDigests, "commitments/rows.json": runTableRow,
	"tree/roots.json": runRoots, "tree/inclusion.json": runInclusion, "tree/consistency.json": runConsistency,
	"tree/frontiers.json": runFrontier, "tree/tile-paths.json": runTilePath, "tree/tiles-for.json": runTilesFor,
	"tree/bundles.json":     runEntryBundle,
	"sparse-map/roots.json": runMapRoots, "sparse-map/proofs.json": runMapProof, "sparse-map/pruned.json": runPruned,
	"note/note.json": runNote, "note/vkey.json": runVkey, "note/checkpoint.json": runCheckpoint,
	"note/log-signatures.json": runLogSignatures, "note/cosignature.json": runCosignature,
	"policy/policy.json": runPolicy, "policy/verdict.json": runPolicyVerdict, "tlog-proof/tlog-proof.json": runTlogProof,
	"statements/good.json": runGood, "statements/bad.json": runBad, "statements/signatures.json": runSignature,
	"statements/possession.json": runPossession, "rows/files.json": runRowFile, "rows/proofs.json": runRowProof,
	"state/states.json": runState, "state/heads.json": runHead, "state/descriptors.json": runDescriptor,
	"state/chains.json": runStateChain,
	"bundle/cases.json": runBundle,
}

// partly says what of a file is not checked.
var partly = map[string]string{
	"locators/normalised.json": "normalising is help in front of the check; only that its results are canonical is checked",
}

var vectorDir string // for bundle/cases.json, which names other files

func vectors(dir string, w io.Writer) int {
	vectorDir = dir
	total, wrong := 0, 0
	files := map[string]bool{}
	for name := range runners {
		files[name] = true
	}
	filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if relative, err := filepath.Rel(dir, name); err == nil && strings.HasSuffix(name, ".json") {
			files[filepath.ToSlash(relative)] = true
		}
		return err
	})
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		cases, failed := []any(nil), []string(nil)
		if err == nil {
			cases, err = casesOf(data)
		}
		if why := skipped[path.Dir(name)]; why != "" {
			fmt.Fprintf(w, "%-32s skipped, %d cases: %s\n", name, len(cases), why)
			continue
		}
		if runners[name] == nil && err == nil {
			err = errors.New("no runner knows this file")
		}
		if err != nil {
			failed = append(failed, err.Error())
		} else {
			for i, v := range cases {
				c := testCase(v.(map[string]any))
				if why := disagreement(runners[name], c); why != "" {
					label := c.text("desc") + c.text("name") + c.text("locator")
					failed = append(failed, fmt.Sprintf("case %d (%.60s): %s", i, label, why))
				}
			}
		}
		accepted := 0
		for _, v := range cases {
			if !testCase(v.(map[string]any)).has("code") {
				accepted++
			}
		}
		fmt.Fprintf(w, "%-32s %3d cases, %3d to accept, %3d to refuse, %d disagree\n", name, len(cases), accepted,
			len(cases)-accepted, len(failed))
		if partly[name] != "" {
			fmt.Fprintf(w, "%32s partly: %s\n", "", partly[name])
		}
		for _, why := range failed {
			fmt.Fprintf(w, "    %s\n", why)
		}
		total, wrong = total+len(cases), wrong+len(failed)
	}
	fmt.Fprintf(w, "%d cases, %d disagree\n", total, wrong)
	if wrong > 0 {
		return 1
	}
	return 0
}

func casesOf(data []byte) ([]any, error) {
	var value any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if file, ok := value.(map[string]any); ok {
		value = file["cases"]
	}
	cases, ok := value.([]any)
	if !ok {
		return nil, errors.New("no list of cases")
	}
	return cases, nil
}

func disagreement(run func(testCase) error, c testCase) string {
	var err error
	if f := catch(func() { err = run(c) }); f != nil {
		err = f
	}
	want := c.text("code")
	switch {
	case err == nil && want == "":
		return ""
	case err == nil:
		return "accepted, not refused with " + want
	case codeOf(err) != "" && codeOf(err) == want:
		return ""
	case want == "":
		return err.Error()
	}
	return fmt.Sprintf("%v, not %s", err, want)
}

// ---- encoding ---------------------------------------------------------------------------------------------

func runTexts(c testCase) error {
	text := c.text("text")
	var b []byte
	var err error
	codec := c.text("codec")
	switch codec {
	case "decimal":
		return same("value", parseDecimal(text), c["value"])
	case "hex":
		b = parseHex(text, 0, anySize)
	case "base64":
		b = parseBase64(text, 0, anySize)
	case "base64url":
		if b, err = base64.RawURLEncoding.DecodeString(text); err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
			err = newFault("encoding/base64url", "%q", text)
		}
	}
	if err == nil && c.has("size") && uint64(len(b)) != c.num("size") {
		err = newFault("encoding/"+codec, "%d bytes", len(b))
	}
	return all(err, same("value", b, c.text("value")))
}

// diagnostic writes a value as RFC 8949 §8 does. Keys come in the order of their encodings.
func diagnostic(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		return fmt.Sprintf("h'%x'", v)
	case string:
		return quoteASCII(v)
	case []any:
		var parts []string
		for _, m := range v {
			parts = append(parts, diagnostic(m))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case object:
		var parts []string
		for _, k := range sortedKeys(v) {
			parts = append(parts, diagnostic(keyOf(k))+": "+diagnostic(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// quoteASCII is a JSON text with everything outside ASCII as \u escapes.
func quoteASCII(s string) string {
	b, _ := json.Marshal(s)
	out := ""
	for _, unit := range utf16.Encode([]rune(string(b))) {
		if unit < 0x80 {
			out += string(rune(unit))
		} else {
			out += fmt.Sprintf(`\u%04x`, unit)
		}
	}
	return out
}

// keyOf gives an integer key as the integer that it is.
func keyOf(key string) any {
	if n, err := strconv.ParseInt(strings.TrimPrefix(key, "\xff"), 10, 64); err == nil && key[0] == 0xff {
		return n
	}
	return key
}

func sortedKeys(m object) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return bytes.Compare(encodeCBOR(keyOf(a)), encodeCBOR(keyOf(b)))
	})
}

// encodeCBOR is only for keys and proofs of possession: whoever verifies never encodes.
func encodeCBOR(v any) []byte {
	head := func(major byte, n uint64) []byte {
		switch {
		case n < 24:
			return []byte{major<<5 | byte(n)}
		case n < 1<<8:
			return []byte{major<<5 | 24, byte(n)}
		case n < 1<<16:
			return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
		case n < 1<<32:
			return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
		}
		return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
	}
	switch v := v.(type) {
	case int64:
		if v < 0 {
			return head(1, uint64(-1-v))
		}
		return head(0, uint64(v))
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case string:
		return append(head(3, uint64(len(v))), v...)
	case bool:
		if v {
			return []byte{0xf5}
		}
		return []byte{0xf4}
	case []any:
		out := head(4, uint64(len(v)))
		for _, m := range v {
			out = append(out, encodeCBOR(m)...)
		}
		return out
	case object:
		out := head(5, uint64(len(v)))
		for _, k := range sortedKeys(v) {
			out = append(append(out, encodeCBOR(keyOf(k))...), encodeCBOR(v[k])...)
		}
		return out
	}
	return []byte{0xf6}
}

func runCBOR(c testCase) error {
	v := parseCBOR(c.hex("encoded"))
	return all(same("value", diagnostic(v), c["value"]), same("encoded again", encodeCBOR(v), c["encoded"]))
}

func runLabelled(c testCase) error {
	return same("hash", labelled(c.text("name"), c.hexes("parts")...), c["hash"])
}

// ---- locators, vrf, commitments ---------------------------------------------------------------------------

func runCanonical(c testCase) error {
	kind := locatorType(c.text("locator"))
	return all(same("type", kind, c["type"]), same("value", c.text("locator")[len(kind)+1:], c["value"]),
		same("alpha", alphaOf(c.text("locator")), c["alpha"]))
}

func runNormalised(c testCase) error {
	if !c.has("locator") { // not even what it stands for is one; which code the normaliser gives is not asked here
		if catch(func() { locatorType(c.text("text")) }) == nil {
			return errors.New("canonical as it stands")
		}
		return newFault(c.text("code"), "")
	}
	locatorType(c.text("locator"))
	return nil
}

// vrfProve is vrf.md, Proving; it gives all intermediate values.
func vrfProve(secret, alpha []byte) (out map[string][]byte, err error) {
	expanded := sha512.Sum512(secret)
	x, err := edwards25519.NewScalar().SetBytesWithClamping(expanded[:32])
	if err != nil {
		return nil, err
	}
	key := new(edwards25519.Point).ScalarBaseMult(x).Bytes()
	h := encodeToCurve(key, alpha)
	gamma := new(edwards25519.Point).ScalarMult(x, h)
	nonce := sha64(expanded[32:], h.Bytes())
	k, err := edwards25519.NewScalar().SetUniformBytes(nonce)
	if err != nil {
		return nil, err
	}
	u, v := new(edwards25519.Point).ScalarBaseMult(k), new(edwards25519.Point).ScalarMult(k, h)
	c := vrfChallenge(key, h, gamma, u, v)
	s := edwards25519.NewScalar().MultiplyAdd(scalar(c), x, k)
	clamped := expanded[:32]
	clamped[0] &= 248
	clamped[31] = clamped[31]&63 | 64
	return map[string][]byte{"pk": key, "x": clamped, "h": h.Bytes(), "k": nonce, "u": u.Bytes(), "v": v.Bytes(),
		"pi": slices.Concat(gamma.Bytes(), c, s.Bytes()), "beta": vrfBeta(gamma)}, nil
}

func runVRF(c testCase) error {
	made, err := vrfProve(c.hex("sk"), c.hex("alpha"))
	for _, name := range []string{"pk", "x", "h", "k", "u", "v", "pi", "beta"} {
		err = all(err, same(name, made[name], c[name]))
	}
	return all(err, same("beta", vrfVerify(c.hex("pk"), c.hex("alpha"), c.hex("pi")), c["beta"]))
}

func runVRFRefused(c testCase) error {
	if vrfVerify(c.hex("pk"), c.hex("alpha"), c.hex("pi")) == nil {
		return newFault("vrf/mismatch", "")
	}
	return nil
}

// recordDigest is commitments.md, Record digest.
func recordDigest(hashes [][]byte) (array string, digest []byte, err error) {
	if len(hashes) == 0 {
		return "", nil, newFault("commitment/no-records", "")
	}
	var quoted []string
	for _, h := range hashes {
		quoted = append(quoted, fmt.Sprintf(`"%x"`, h))
	}
	slices.Sort(quoted)
	array = "[" + strings.Join(slices.Compact(quoted), ",") + "]"
	return array, sha([]byte(array)), nil
}

func runChain(c testCase) error {
	locatorType(c.text("locator"))
	alpha := alphaOf(c.text("locator"))
	proof, err := vrfProve(c.hex("vrf_secret"), alpha)
	if err != nil {
		return err
	}
	index := indexOf(c.text("holder"), c.text("system"), proof["beta"])
	var records [][]byte
	for _, r := range c.hexes("records") {
		records = append(records, sha(r))
	}
	_, digest, err := recordDigest(records)
	blind := labelled("blind", c.hex("salt"))
	return all(err, same("alpha", alpha, c["alpha"]), same("beta", proof["beta"], c["beta"]), same("index", index, c["index"]),
		same("key", labelled("key", index), c["key"]), same("record digest", digest, c["record_digest"]),
		same("blind", blind, c["blind"]), same("commitment", labelled("commitment", index, blind, digest), c["commitment"]))
}

func runDigests(c testCase) error {
	array, digest, err := recordDigest(c.hexes("hashes"))
	return all(err, same("array", array, c["array"]), same("record digest", digest, c["record_digest"]))
}

// ---- commitments.md, Table rows ---------------------------------------------------------------------------

func runTableRow(c testCase) error {
	row, err := tableObject(c.list("row"), 0)
	if err != nil {
		return err
	}
	return all(same("JSON", row, c["json"]), same("sha256", sha([]byte(row)), c["sha256"]))
}

// tableText is a JSON text as RFC 8785 writes it. Go reads half a surrogate pair as U+FFFD; no good case has that.
func tableText(s string) (string, error) {
	if strings.ContainsRune(s, utf8.RuneError) {
		return "", newFault("record/text", "a lone surrogate")
	}
	out := `"`
	for _, r := range s {
		if at := strings.IndexRune("\"\\\b\t\n\f\r", r); at >= 0 {
			out += `\` + `"\btnfr`[at:at+1]
		} else if r < 0x20 {
			out += fmt.Sprintf(`\u%04x`, r)
		} else {
			out += string(r)
		}
	}
	return out + `"`, nil
}

func tableObject(pairs []any, depth int) (string, error) {
	if depth > 16+1 { // the row itself is not counted
		return "", newFault("record/depth", "")
	}
	type member struct {
		units []uint16
		text  string
	}
	var members []member
	for _, p := range pairs {
		pair := p.([]any)
		name, err := tableText(pair[0].(string))
		if err != nil {
			return "", err
		}
		value, err := tableValue(pair[1].(map[string]any), depth+1)
		if err != nil {
			return "", err
		}
		members = append(members, member{utf16.Encode([]rune(pair[0].(string))), name + ":" + value})
	}
	slices.SortFunc(members, func(a, b member) int { return slices.Compare(a.units, b.units) })
	var parts []string
	for _, m := range members {
		parts = append(parts, m.text)
	}
	return "{" + strings.Join(parts, ",") + "}", nil
}

// tableValue has depth 1 for a value in a column.
func tableValue(typed testCase, depth int) (string, error) {
	if depth > 16+1 {
		return "", newFault("record/depth", "")
	}
	for kind, v := range typed {
		text, _ := v.(string)
		switch kind {
		case "null", "bool":
			if v == nil {
				return "null", nil
			}
			return fmt.Sprint(v), nil
		case "text":
			return tableText(text)
		case "int":
			n, _ := new(big.Int).SetString(text, 10)
			if len(n.String()) > 4096 {
				return "", newFault("record/number", "")
			}
			if n.IsInt64() && -maxInt <= n.Int64() && n.Int64() <= maxInt {
				return n.String(), nil
			}
			return tableText(n.String())
		case "float":
			f, err := strconv.ParseFloat(fmt.Sprint(v), 64)
			if text != "" {
				f, err = math.Float64frombits(binary.BigEndian.Uint64(unhex(text))), nil
			}
			if err != nil {
				return "", err
			}
			return tableText(ecmaString(f))
		case "decimal":
			s, err := plainDecimal(text)
			if err != nil {
				return "", err
			}
			return tableText(s)
		case "bytes":
			return tableText(base64.StdEncoding.EncodeToString(unhex(text)))
		case "uuid":
			return tableText(strings.ToLower(text))
		case "date":
			return tableText(text)
		case "time":
			if _, err := time.Parse("15:04:05.999999", text); err != nil {
				return "", newFault("record/time", "%s", text)
			}
			return tableText(trimFraction(text))
		case "datetime":
			return tableTime(text)
		case "micros":
			n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
			sign := ""
			if n < 0 {
				sign, n = "-", -n
			}
			s := trimFraction(fmt.Sprintf("%d.%06d", n/1e6, n%1e6))
			return `"` + sign + "PT" + s + `S"`, err
		case "array":
			var parts []string
			for _, m := range v.([]any) {
				s, err := tableValue(m.(map[string]any), depth+1)
				if err != nil {
					return "", err
				}
				parts = append(parts, s)
			}
			return "[" + strings.Join(parts, ",") + "]", nil
		case "object":
			return tableObject(v.([]any), depth)
		}
	}
	return "", newFault("record/type", "")
}

func trimFraction(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func tableTime(text string) (string, error) {
	if t, err := time.Parse("2006-01-02T15:04:05.999999", text); err == nil {
		return tableText(t.Format("2006-01-02T15:04:05.999999"))
	}
	t, err := time.Parse("2006-01-02T15:04:05.999999Z07:00", text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return "", newFault("record/time", "%s", text)
	}
	return tableText(t.Format("2006-01-02T15:04:05.999999Z07:00"))
}

// ecmaString is ECMAScript's String(x).
func ecmaString(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		return "0"
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	return mantissa + "e" + exponent[:1] + strings.TrimLeft(exponent[1:], "0")
}

func plainDecimal(text string) (string, error) {
	if text == "NaN" || strings.HasSuffix(text, "Infinity") {
		return text, nil
	}
	number, exponentText, _ := strings.Cut(text, "E")
	exponent, _ := strconv.Atoi(exponentText)
	digits, negative := strings.CutPrefix(number, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	coefficient, exponent := strings.TrimLeft(whole+fraction, "0"), exponent-len(fraction)
	if coefficient == "" {
		return "0", nil
	}
	if len(coefficient)+max(exponent, -exponent) > 4096 {
		return "", newFault("record/number", "%s", text)
	}
	if exponent >= 0 {
		digits = coefficient + strings.Repeat("0", exponent)
	} else {
		coefficient = strings.Repeat("0", max(0, 1-exponent-len(coefficient))) + coefficient
		digits = trimFraction(coefficient[:len(coefficient)+exponent] + "." + coefficient[len(coefficient)+exponent:])
	}
	if negative {
		digits = "-" + digits
	}
	return digits, nil
}

// ---- tree -------------------------------------------------------------------------------------------------

// treeRoot builds level by level; a last node without a neighbour moves up.
func treeRoot(entries [][]byte) []byte {
	if len(entries) == 0 {
		return sha()
	}
	var level [][]byte
	for _, e := range entries {
		level = append(level, leafHash(e))
	}
	for len(level) > 1 {
		var up [][]byte
		for pair := range slices.Chunk(level, 2) {
			if len(pair) == 2 {
				pair[0] = nodeHash(pair[0], pair[1])
			}
			up = append(up, pair[0])
		}
		level = up
	}
	return level[0]
}

func runRoots(c testCase) error { return same("root", treeRoot(c.hexes("entries")), c["root"]) }

func runInclusion(c testCase) error {
	checkInclusion(c.hex("leaf"), int64(c.num("index")), int64(c.num("size")), c.hexes("path"), c.hex("root"))
	return nil
}

func runConsistency(c testCase) error {
	m, n, oldRoot, newRoot, way := c.num("old_size"), c.num("new_size"), c.hex("old_root"), c.hex("new_root"), c.hexes("path")
	if m > n || n > math.MaxInt64 {
		return newFault("consistency/size", "%d to %d", m, n)
	}
	want, inner, t := 0, 0, 0
	if m != 0 && m != n {
		t = bits.TrailingZeros64(m)
		inner = bits.Len64((m-1)^(n-1)) - t
		want = inner + bits.OnesCount64((m-1)>>(inner+t))
		if m&(m-1) != 0 {
			want++
		}
	}
	if len(way) != want {
		return newFault("consistency/path-length", "%d hashes, not %d", len(way), want)
	}
	if !hashes(way...) || !hashes(oldRoot, newRoot) {
		return newFault("consistency/hash-length", "")
	}
	if m == 0 && !bytes.Equal(oldRoot, sha()) {
		return newFault("consistency/old-root-mismatch", "")
	}
	if m == n && !bytes.Equal(oldRoot, newRoot) {
		return newFault("consistency/fork", "")
	}
	if m == 0 || m == n {
		return nil
	}
	o := oldRoot
	if m&(m-1) != 0 {
		o, way = way[0], way[1:]
	}
	grown, index := o, (m-1)>>t
	for i, p := range way {
		if i >= inner || index>>i&1 == 1 {
			o, grown = nodeHash(p, o), nodeHash(p, grown)
		} else {
			grown = nodeHash(grown, p)
		}
	}
	if !bytes.Equal(o, oldRoot) {
		return newFault("consistency/old-root-mismatch", "")
	}
	if !bytes.Equal(grown, newRoot) {
		return newFault("consistency/new-root-mismatch", "")
	}
	return nil
}

func runFrontier(c testCase) error {
	size, all := c.num("size"), c.hexes("hashes")
	switch {
	case size > math.MaxInt64:
		return newFault("frontier/size", "")
	case len(all) != bits.OnesCount64(size):
		return newFault("frontier/count", "")
	case !hashes(all...):
		return newFault("frontier/hash-length", "")
	case size == 0:
		return same("root", sha(), c["root"])
	}
	root := all[len(all)-1]
	for _, h := range slices.Backward(all[:len(all)-1]) {
		root = nodeHash(h, root)
	}
	return same("root", root, c["root"])
}

func tilePath(level string, index uint64, width uint64) string {
	s := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		s = fmt.Sprintf("x%03d/%s", index%1000, s)
	}
	if s = path.Join("tile", level, s); width < 256 {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

// runTilePath reads leniently, writes what it read, and compares.
func runTilePath(c testCase) error {
	wire := c.text("path")
	bad := newFault("tile/path", "%q", wire)
	parts := strings.Split(wire, "/")
	width := uint64(256)
	if n := len(parts); n > 1 && strings.HasSuffix(parts[n-2], ".p") {
		w, err := strconv.ParseUint(parts[n-1], 10, 8)
		if err != nil || w < 1 {
			return bad
		}
		width, parts = w, parts[:n-1]
		parts[n-2] = strings.TrimSuffix(parts[n-2], ".p")
	}
	if len(parts) < 3 || len(parts) > 10 {
		return bad
	}
	level, name := uint64(0), "entries"
	if parts[1] != name {
		var err error
		if level, err = strconv.ParseUint(parts[1], 10, 8); err != nil || level > 7 {
			return bad
		}
		name = fmt.Sprint(level)
	}
	index := new(big.Int)
	for _, group := range parts[2:] {
		n, err := strconv.ParseUint(strings.TrimPrefix(group, "x"), 10, 32)
		if err != nil || n > 999 {
			return bad
		}
		index.Add(index.Mul(index, big.NewInt(1000)), new(big.Int).SetUint64(n))
	}
	end := new(big.Int).Mul(index, big.NewInt(256)) // (256·index + width) · 256^level
	end.Lsh(end.Add(end, new(big.Int).SetUint64(width)), uint(8*level))
	if end.BitLen() > 63 || tilePath(name, index.Uint64(), width) != wire {
		return bad
	}
	if parts[1] == "entries" {
		if c["level"] != nil {
			return errors.New("a bundle, not a tile")
		}
	} else if err := same("level", level, c["level"]); err != nil {
		return err
	}
	return all(same("index", index, c["index"]), same("width", width, c["width"]))
}

func runTilesFor(c testCase) error {
	implied := func(size uint64) (tiles []string) {
		for level := uint64(0); size>>(8*level) > 0; level++ {
			n := size >> (8 * level)
			for index := range n / 256 {
				tiles = append(tiles, tilePath(fmt.Sprint(level), index, 256))
			}
			if n%256 > 0 {
				tiles = append(tiles, tilePath(fmt.Sprint(level), n/256, n%256))
			}
		}
		return tiles
	}
	old := implied(c.num("old_size"))
	tiles := slices.DeleteFunc(implied(c.num("new_size")), func(t string) bool { return slices.Contains(old, t) })
	return same("tiles", tiles, c.list("tiles"))
}

func runEntryBundle(c testCase) error {
	rest, entries := c.hex("encoded"), []string{}
	for range c.num("count") {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return newFault("bundle/truncated", "")
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		entries, rest = append(entries, hex.EncodeToString(rest[2:n])), rest[n:]
	}
	if len(rest) > 0 {
		return newFault("bundle/trailing", "")
	}
	return same("entries", entries, c.list("entries"))
}

// ---- sparse-map -------------------------------------------------------------------------------------------

func bindingsOf(l []any) (bound []binding) {
	for _, p := range l {
		bound = append(bound, binding{unhex(p.([]any)[0]), unhex(p.([]any)[1])})
	}
	slices.SortFunc(bound, func(a, b binding) int { return bytes.Compare(a.key, b.key) })
	return bound
}

func runMapRoots(c testCase) error {
	return same("root", mapRoot(bindingsOf(c.list("bindings")), 0), c["root"])
}

func runMapProof(c testCase) error {
	value := lookUp(c.hex("root"), c.hex("key"), c.hex("proof"))
	if (value == nil) != !c.has("value") {
		return errors.New("bound or absent, not as the case says")
	}
	return same("value", value, c.text("value"))
}

// A pruned tree: nil is empty, a hash is a 01, a key and value a 02, sides a 03.
type pruned struct {
	hash, key, value []byte
	sides            [2]*pruned
}

func (p *pruned) leafOrInner() (leaf, inner bool) {
	return p != nil && p.key != nil, p != nil && p.hash == nil && p.key == nil
}

func readPruned(b []byte, way []byte, depth int) (*pruned, []byte, error) {
	if len(b) == 0 {
		return nil, nil, newFault("pruned/truncated", "")
	}
	tag, b := b[0], b[1:]
	size := map[byte]int{1: 32, 2: 64}[tag]
	if len(b) < size {
		return nil, nil, newFault("pruned/truncated", "")
	}
	switch tag {
	case 0:
		return nil, b, nil
	case 1:
		if bytes.Equal(b[:32], zeros) {
			return nil, nil, newFault("pruned/zero-hash", "")
		}
		return &pruned{hash: b[:32]}, b[32:], nil
	case 2:
		for i := range depth {
			if bit(b, i) != bit(way, i) {
				return nil, nil, newFault("pruned/foreign-leaf", "")
			}
		}
		return &pruned{key: b[:32], value: b[32:64]}, b[64:], nil
	case 3:
	default:
		return nil, nil, newFault("pruned/tag", "%02x", tag)
	}
	if depth == 256 {
		return nil, nil, newFault("pruned/depth", "")
	}
	p := &pruned{}
	for side := range p.sides {
		there := slices.Clone(way)
		there[depth/8] |= byte(side) << (7 - depth%8)
		var err error
		if p.sides[side], b, err = readPruned(b, there, depth+1); err != nil {
			return nil, nil, err
		}
	}
	for side, s := range p.sides {
		if leaf, _ := s.leafOrInner(); p.sides[1-side] == nil && (s == nil || leaf) {
			return nil, nil, newFault("pruned/not-canonical", "")
		}
	}
	return p, b, nil
}

func (p *pruned) root() []byte {
	leaf, inner := p.leafOrInner()
	switch {
	case p == nil:
		return zeros
	case leaf:
		return mapLeaf(p.key, p.value)
	case inner:
		return mapNode(p.sides[0].root(), p.sides[1].root())
	}
	return p.hash
}

func (p *pruned) get(key []byte, depth int) ([]byte, error) {
	leaf, inner := p.leafOrInner()
	switch {
	case p == nil:
		return nil, nil
	case inner:
		return p.sides[bit(key, depth)].get(key, depth+1)
	case leaf && bytes.Equal(p.key, key):
		return p.value, nil
	case leaf:
		return nil, nil
	}
	return nil, newFault("pruned/touched-hash", "%x", key)
}

func (p *pruned) put(key, value []byte, depth int) (*pruned, error) {
	leaf, inner := p.leafOrInner()
	switch {
	case p == nil || (leaf && bytes.Equal(p.key, key)):
		return &pruned{key: key, value: value}, nil
	case leaf: // both move down to where their keys part
		moved := &pruned{}
		moved.sides[bit(p.key, depth)] = p
		return moved.put(key, value, depth)
	case inner:
		changed, err := p.sides[bit(key, depth)].put(key, value, depth+1)
		sides := p.sides
		sides[bit(key, depth)] = changed
		return &pruned{sides: sides}, err
	}
	return nil, newFault("pruned/touched-hash", "%x", key)
}

// writePruned writes what the keys need of the bindings.
func writePruned(bound []binding, keys [][]byte, depth int) []byte {
	switch {
	case len(bound) == 0:
		return []byte{0}
	case len(keys) == 0:
		return append([]byte{1}, mapRoot(bound, depth)...)
	case len(bound) == 1:
		return slices.Concat([]byte{2}, bound[0].key, bound[0].value)
	}
	out := []byte{3}
	for side := range byte(2) {
		out = append(out, writePruned(
			slices.DeleteFunc(slices.Clone(bound), func(b binding) bool { return bit(b.key, depth) != side }),
			slices.DeleteFunc(slices.Clone(keys), func(k []byte) bool { return bit(k, depth) != side }), depth+1)...)
	}
	return out
}

func runPruned(c testCase) error {
	p, rest, err := readPruned(c.hex("pruned"), make([]byte, 32), 0)
	if err == nil && len(rest) > 0 {
		err = newFault("pruned/trailing", "")
	}
	if err == nil && c.has("root") {
		err = same("root", p.root(), c["root"])
	}
	if err == nil && c.has("touch") {
		_, err = p.get(c.hex("touch"), 0)
	}
	if err != nil || c.has("touch") || !c.has("new_root") {
		return err
	}
	for _, g := range c.list("get") {
		value, err := p.get(unhex(g.([]any)[0]), 0)
		want, _ := g.([]any)[1].(string)
		if err = all(err, same("value", value, want)); err != nil {
			return err
		}
	}
	for _, b := range bindingsOf(c.list("changes")) {
		if p, err = p.put(b.key, b.value, 0); err != nil {
			return err
		}
	}
	return all(same("new root", p.root(), c["new_root"]),
		same("pruned", writePruned(bindingsOf(c.list("bindings")), c.hexes("keys"), 0), c["pruned"]))
}

// ---- note, policy, tlog-proof -----------------------------------------------------------------------------

func runNote(c testCase) error {
	text, lines := parseNote(c.wire("wire"))
	return all(same("text", text, c["text"]), same("signatures", len(lines), c["signatures"]))
}

func runVkey(c testCase) error {
	k := parseVkey(c.text("wire"))
	return all(same("name", k.name, c["key_name"]), same("ID", k.id, c["key_id"]), same("type", k.kind, c["type"]),
		same("key", k.public, c["public"]), same("wire", k.spell(), c["wire"]))
}

func runCheckpoint(c testCase) error {
	cp := parseCheckpointText(c.text("wire"))
	return all(same("origin", cp.origin, c["origin"]), same("size", cp.size, c["size"]), same("root", cp.root, c["root"]))
}

func (k vkey) spell() string {
	return fmt.Sprintf("%s+%x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.public...)))
}

func spell(signers []signer) (all []string) {
	for _, s := range signers {
		all = append(all, s.spell())
	}
	return all
}

// given reads what a case gives besides its wire: that has to be good.
func given(read func()) {
	if f := catch(read); f != nil {
		panic("vectors: " + f.Error())
	}
}

func runLogSignatures(c testCase) error {
	cp := parseCheckpoint(c.wire("wire"))
	var keys []vkey
	for _, v := range c.list("vkeys") {
		given(func() { keys = append(keys, parseVkey(v.(string))) })
	}
	signers, missing := cp.logSigners(keys)
	require(missing == "", missing)
	return same("verified", spell(signers), c.list("verified"))
}

func runCosignature(c testCase) error {
	var cp checkpoint
	var k vkey
	given(func() {
		cp = parseCheckpoint([]byte(c.text("checkpoint") + "\n" + c.text("line") + "\n"))
		k = parseVkey(c.text("vkey"))
	})
	signers := cp.signers([]vkey{k}, true)
	if len(signers) != 1 {
		return errors.New("not the line of this key")
	}
	if c.has("message") {
		if err := same("message", cp.message(k, signers[0].time), c["message"]); err != nil {
			return err
		}
	}
	return same("time", signers[0].time, c["time"])
}

// canonicalPolicy writes a policy that parsed as policy.md has it written.
func canonicalPolicy(wire []byte) []byte {
	lines := map[string]string{}
	for line := range strings.Lines(string(wire)) {
		f := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' })
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if f[0] == "group" {
			if f[2] == "any" {
				f[2] = "1"
			}
			if f[2] == strconv.Itoa(len(f)-3) {
				f[2] = "all"
			}
		}
		lines[f[0]] += strings.Join(f, " ") + "\n"
	}
	return []byte(lines["log"] + lines["witness"] + lines["group"] + lines["quorum"])
}

func runPolicy(c testCase) error {
	parsePolicy(c.wire("wire"))
	return same("canonical", canonicalPolicy(c.wire("wire")), hex.EncodeToString(c.wire("canonical")))
}

func runPolicyVerdict(c testCase) error {
	var p *policy
	given(func() { p = parsePolicy([]byte(c.text("policy"))) })
	j := p.judge(parseCheckpoint([]byte(c.text("note"))))
	require(j.missing == "", j.missing)
	witnesses := []any{}
	for _, w := range j.witnesses {
		witnesses = append(witnesses, []any{w.name, w.time})
	}
	existedBy, anchor := any(nil), "logged"
	if j.existedBy > 0 {
		existedBy, anchor = j.existedBy, "witnessed"
	}
	if len(p.logs) == 0 {
		anchor = "unpinned"
	}
	return all(same("anchor", anchor, c["anchor"]), same("quorum", j.quorum, c["quorum"]),
		same("existed by", existedBy, c["existed_by"]), same("logs", spell(j.logs), c.list("logs")),
		same("witnesses", witnesses, c.list("witnesses")))
}

type tlogProof struct {
	extra      []byte
	index      int64
	path       [][]byte
	checkpoint checkpoint
}

// parseTlogProof is checkpoint.md, tlog-proof.
func parseTlogProof(b []byte) (p tlogProof, err error) {
	s := string(b)
	head, signed, empty := strings.Cut(s, "\n\n")
	switch {
	case len(s) > 2<<20:
		return p, newFault("tlog-proof/size", "")
	case !utf8.ValidString(s):
		return p, newFault("encoding/utf8", "")
	case strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 && c != '\n' }):
		return p, newFault("tlog-proof/control-character", "")
	case !empty:
		return p, newFault("tlog-proof/blank-line", "")
	}
	lines := strings.Split(head, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		return p, newFault("tlog-proof/header", "%.80q", lines[0])
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		p.extra = parseBase64(lines[0][len("extra "):], 0, anySize)
		if len(p.extra) == 0 {
			return p, newFault("tlog-proof/extra", "")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return p, newFault("tlog-proof/index", "")
	}
	p.index = parseDecimal(lines[0][len("index "):])
	if len(lines)-1 > 63 {
		return p, newFault("tlog-proof/path-length", "")
	}
	for _, line := range lines[1:] {
		p.path = append(p.path, parseBase64(line, 32, 32))
	}
	p.checkpoint = parseCheckpoint([]byte(signed))
	return p, nil
}

func runTlogProof(c testCase) error {
	p, err := parseTlogProof(c.wire("wire"))
	if err != nil {
		return err
	}
	var way []string
	for _, h := range p.path {
		way = append(way, hex.EncodeToString(h))
	}
	err = all(same("index", p.index, c["index"]), same("path", way, c.list("path")), same("extra", p.extra, c.text("extra")))
	if err == nil && c.has("entry") {
		checkInclusion(leafHash(c.hex("entry")), p.index, p.checkpoint.size, p.path, p.checkpoint.root)
	}
	return err
}

// ---- statements, rows, state ------------------------------------------------------------------------------

// plain writes bytes as hex, as the vectors do, and sorts keys, so that it can be compared.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		return fmt.Sprintf("%q", hex.EncodeToString(v))
	case string:
		return fmt.Sprintf("%q", v)
	case []any:
		var parts []string
		for _, m := range v {
			parts = append(parts, plain(m))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case object:
		var parts []string
		for _, k := range sortedKeys(v) {
			parts = append(parts, plain(keyOf(k))+":"+plain(v[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(v)
}

func runGood(c testCase) error {
	s := parseStatement(c.hex("entry"))
	s.verify(c.hex("public"))
	fields := maps.Clone(s.payload)
	refs, _ := fields["ref"].([]any)
	about, seq := fields["about"], fields["seq"]
	for _, name := range []string{"ref", "about", "seq"} {
		delete(fields, name)
	}
	return all(same("issuer", s.issuer, c["issuer"]), same("stream", s.stream, c["stream"]),
		same("audience", s.audience, c["audience"]), same("time", s.issuedAt, c["issued_at"]), same("kid", s.kid, c["kid"]),
		same("seq", seq, c["seq"]), same("about", about, c["about"]), same("ref", plain(refs), plain(c.list("ref"))),
		same("payload", plain(fields), plain(c["payload"])), same("leaf", leafHash(c.hex("entry")), c["leaf"]),
		same("ID", base64.RawURLEncoding.EncodeToString(leafHash(c.hex("entry"))), c["entry_id"]), same("to be signed", s.signed, c["to_be_signed"]),
		same("thumbprint", thumbprint(c.hex("public")), c["kid"]))
}

func runBad(c testCase) error {
	parseStatement(c.hex("entry"))
	return nil
}

func runSignature(c testCase) error {
	var s *statement
	given(func() { s = parseStatement(c.hex("entry")) })
	s.verify(c.hex("public"))
	return nil
}

func runPossession(c testCase) error {
	reduced := parseCBOR(c.hex("payload")).(object)
	for _, name := range []string{"seq", "about", "ref", "check"} {
		delete(reduced, name)
	}
	var public [][]byte
	for _, name := range []string{"keys", "add"} {
		if reduced[name] == nil {
			continue
		}
		var keys []any
		for _, k := range members[object](reduced, name) {
			public = append(public, at[[]byte](k, "key"))
			keys = append(keys, object{"key": k["key"], "use": k["use"]})
		}
		reduced[name] = keys
	}
	message := labelled("possession", []byte(c.text("origin")), []byte(c.text("party")), encodeCBOR(reduced))
	err := same("message", message, c["message"])
	for i, v := range c.list("proofs") {
		proof := testCase(v.(map[string]any))
		err = all(err, same("key", public[i], proof["public"]), same("kid", thumbprint(public[i]), proof["kid"]))
		verifyEd25519(public[i], message, proof.hex("proof"))
	}
	return err
}

func runRowFile(c testCase) error {
	encoded := c.hex("encoded")
	count := len(encoded) / 64
	if len(encoded)%64 != 0 || count < 1 || count > 1048576 {
		return newFault("rows/size", "")
	}
	rows, wrong := slices.Collect(slices.Chunk(encoded, 64)), []int{}
	for i := range rows[1:] {
		if bytes.Compare(rows[i][:32], rows[i+1][:32]) >= 0 && len(wrong) < 16 {
			wrong = append(wrong, i+1)
		}
	}
	if len(wrong) > 0 {
		if err := same("rows", wrong, c.list("rows")); err != nil {
			return err
		}
		return newFault("rows/order", "%v", wrong)
	}
	return all(same("count", count, c["count"]), same("root", treeRoot(rows), c["root"]))
}

func runRowProof(c testCase) error {
	if n := len(c.hex("row")); n != 64 {
		return newFault("rows/size", "%d bytes", n)
	}
	checkInclusion(leafHash(c.hex("row")), int64(c.num("position")), int64(c.num("count")), c.hexes("path"), c.hex("root"))
	return nil
}

func runState(c testCase) error {
	encoded := c.hex("encoded")
	s := parseState(encoded)
	return all(same("status", s.status, c["status"]), same("generation", binary.BigEndian.Uint32(encoded[1:]), c["generation"]),
		same("version", binary.BigEndian.Uint32(encoded[5:]), c["version"]), same("position", s.position, c["position"]),
		same("commitment", s.commitment, c["commitment"]), same("value", labelled("state", encoded), c["value"]))
}

func runHead(c testCase) error {
	is, key, value, id := partyHead, "top-key", "party-head", "party"
	if c.text("kind") == "system" {
		is, key, value, id = systemHead, "system-key", "system-head", "system"
	}
	head := parseHead(c.hex("encoded"), is)
	return all(same("fields", plain(head), plain(c["fields"])),
		same("key", labelled(key, []byte(at[string](head, id))), c["key"]), same("value", labelled(value, c.hex("encoded")), c["value"]))
}

func runDescriptor(c testCase) error {
	d := shaped(parseCBOR(c.hex("encoded")), descriptor, "systems/descriptor")
	return all(same("fields", plain(d), plain(c["fields"])), same("digest", labelled("descriptor", c.hex("encoded")), c["digest"]))
}

func runStateChain(c testCase) (err error) {
	chain := zeros
	for _, v := range c.list("steps") {
		step := testCase(v.(map[string]any))
		chain = labelled("chain", chain, binary.BigEndian.AppendUint64(nil, step.num("position")), step.hex("leaf"))
		err = all(err, same("chain", chain, step["chain"]))
	}
	return err
}

// ---- bundle, and many cases at once -----------------------------------------------------------------------

// ask reads a question as bundle/cases.json has it; a keepsake comes as a file.
func ask(asked testCase, keepsake []byte) (q question) {
	q = question{holder: asked.text("holder"), expect: asked.text("expect"), level: asked.text("level"),
		maxAge: int64(asked.num("max_age")), now: int64(asked.num("now"))}
	for _, l := range asked.list("locators") {
		q.locators = append(q.locators, l.(string))
	}
	q.policy = parsePolicy([]byte(asked.text("policy")))
	if asked.has("state_policy") {
		q.statePolicy = parsePolicy([]byte(asked.text("state_policy")))
	}
	if asked.has("keepsake") {
		q.keepsake = parseKeepsake(keepsake)
	}
	q.check()
	return q
}

func runBundle(c testCase) error {
	load := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(vectorDir, "bundle", name))
		if err != nil {
			panic("vectors: " + err.Error())
		}
		return b
	}
	data := load(c.text("bundle") + ".bundle")
	if len(c.sub("replace")) > 0 {
		var parts object
		given(func() { parts = parseJSON(data, maxFile).(object) })
		maps.Copy(parts, c.sub("replace"))
		data, _ = json.Marshal(parts)
	}
	if c.has("raw") {
		data = []byte(c.text("raw"))
	}
	var keepsake []byte
	if c.sub("question").has("keepsake") {
		keepsake = load(c.sub("question").text("keepsake"))
	}
	var q question
	given(func() { q = ask(c.sub("question"), keepsake) })
	v, _ := verify(q, func() *bundle { return parseBundle(data) })
	var got map[string]any
	encoded, _ := json.Marshal(v)
	json.Unmarshal(encoded, &got)
	for name, want := range c.sub("want") {
		if err := same(name, got[name], want); err != nil {
			return fmt.Errorf("%v (%s)", err, v.Reason)
		}
	}
	return nil
}

// batch answers a question on each line of `in` with a verdict on a line: {"question": as in bundle/cases.json, "bundle":
// base64, "keepsake": base64 or null}. A question that is none is answered {"outcome": "usage", "code": …}.
func batch(_ string, in io.Reader, out io.Writer) int {
	lines, buffered := bufio.NewReader(in), bufio.NewWriter(out)
	defer buffered.Flush()
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return 0
		}
		cases, err := casesOf(slices.Concat([]byte("["), line, []byte("]")))
		if err != nil {
			panic(err)
		}
		c := testCase(cases[0].(map[string]any))
		decode := func(name string) []byte {
			b, _ := base64.StdEncoding.DecodeString(c.text(name))
			return b
		}
		var q question
		if f := catch(func() { q = ask(c.sub("question"), decode("keepsake")) }); f != nil {
			fmt.Fprintf(buffered, "{\"outcome\":\"usage\",\"code\":%q}\n", f.code)
			continue
		}
		v, _ := verify(q, func() *bundle { return parseBundle(decode("bundle")) })
		answer, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		buffered.Write(append(answer, '\n'))
	}
}
