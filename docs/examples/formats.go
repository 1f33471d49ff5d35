package main

// The formats that a bundle is made of, and the cryptography under them, as strictly as docs/spec has them. Each part names
// its page; verify.go judges what is read here.

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"filippo.io/edwards25519"
)

// A fault is a refusal with its stable code. Checks panic with one; catch recovers it where a step ends or a file has
// been read. Any other panic is a mistake in this program: catch lets it through, and there is a crash and no verdict.
type fault struct{ code, detail string }

func (f *fault) Error() string { return f.code + ": " + f.detail }

func require(ok bool, code string, found ...any) {
	if !ok {
		panic(&fault{code, fmt.Sprint(found...)})
	}
}

func catch(do func()) (f *fault) {
	defer func() {
		if r := recover(); r != nil {
			var refused bool
			if f, refused = r.(*fault); !refused {
				panic(r)
			}
		}
	}()
	do()
	return nil
}

// ---- encoding.md ------------------------------------------------------------------------------------------

const (
	maxInt  = 1<<53 - 1   // the greatest integer of CBOR and JSON
	anySize = math.MaxInt // of bytes
)

func parseDecimal(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	require(err == nil && n >= 0 && strconv.FormatInt(n, 10) == s, "encoding/decimal", s)
	return n
}

// Go's decoder skips line breaks; encoding the result again and comparing makes it strict.
func parseBase64(s string, low, high int) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	ok := err == nil && base64.StdEncoding.EncodeToString(b) == s
	require(ok && low <= len(b) && len(b) <= high, "encoding/base64", len(b), " bytes")
	return b
}

func parseHex(s string, low, high int) []byte {
	b, err := hex.DecodeString(s)
	require(err == nil && hex.EncodeToString(b) == s && low <= len(b) && len(b) <= high, "encoding/hex", s)
	return b
}

func sha(parts ...[]byte) []byte {
	h := sha256.Sum256(slices.Concat(parts...))
	return h[:]
}

// labelled is H(name, part, …).
func labelled(name string, parts ...[]byte) []byte {
	label := "attest/" + name + "/v1"
	b := append([]byte{byte(len(label))}, label...)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return sha(b)
}

// Both CBOR and JSON are read as int64, string, bool, nil, []any and object; CBOR has []byte as well.
type object = map[string]any

// at gives what a shape (below) has shown to be there; another type is a mistake in this program, and crashes.
func at[T any](o object, way ...string) T {
	for _, key := range way[:len(way)-1] {
		o = o[key].(object)
	}
	return o[way[len(way)-1]].(T)
}

func members[T any](o object, way ...string) (all []T) {
	for _, v := range at[[]any](o, way...) {
		all = append(all, v.(T))
	}
	return all
}

type cborReader struct {
	rest  []byte
	loose bool // something is not spelled as a deterministic encoder spells it
}

func parseCBOR(b []byte) any {
	r := &cborReader{rest: b}
	v := r.value(0)
	require(len(r.rest) == 0, "cbor/trailing", len(r.rest), " bytes")
	require(!r.loose, "cbor/not-deterministic")
	return v
}

func (r *cborReader) take(n uint64) []byte {
	require(n <= uint64(len(r.rest)), "cbor/truncated", n, " bytes wanted, ", len(r.rest), " left")
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// An integer key n becomes a text that no text in CBOR can be: "\xffn".
func (r *cborReader) value(depth int) any {
	require(depth <= 16, "cbor/depth")
	first := r.take(1)[0]
	major, arg := first>>5, uint64(first&31)
	switch {
	case first == 0xf4 || first == 0xf5:
		return first == 0xf5
	case first == 0xf6:
		return nil
	}
	require(major <= 5 && arg <= 27, "cbor/type", first)
	if arg >= 24 {
		width := uint64(1) << (arg - 24)
		arg = binary.BigEndian.Uint64(append(make([]byte, 8-width), r.take(width)...))
		r.loose = r.loose || arg < 24 || width > 1 && arg>>(4*width) == 0
	}
	switch major {
	case 0, 1:
		require(arg <= maxInt-uint64(major), "cbor/range")
		return int64(arg) ^ -int64(major) // of major type 1 it is -1 - arg
	case 2:
		return r.take(arg)
	case 3:
		b := r.take(arg)
		require(utf8.Valid(b), "encoding/utf8")
		return string(b)
	}
	// Each member takes at least one byte: nothing is allocated for an announcement.
	require(arg <= uint64(len(r.rest)), "cbor/truncated", arg, " members announced")
	if major == 4 {
		list := []any{}
		for range arg {
			list = append(list, r.value(depth+1))
		}
		return list
	}
	m, last := object{}, []byte(nil)
	for range arg {
		start := r.rest
		key, isText := "", false
		switch k := r.value(depth + 1).(type) {
		case string:
			key, isText = k, true
		case int64:
			key = fmt.Sprint("\xff", k)
		}
		require(isText || key != "", "cbor/type", "a key that is neither text nor integer")
		encoded := start[:len(start)-len(r.rest)]
		r.loose = r.loose || bytes.Compare(last, encoded) >= 0
		last, m[key] = encoded, r.value(depth+1)
	}
	return m
}

// parseJSON leaves the grammar, duplicate keys and UTF-8 to the standard library, which is strict in all three.
func parseJSON(b []byte, limit int) (v any) {
	require(len(b) <= limit, "json/size", len(b), " bytes")
	require(utf8.Valid(b), "encoding/utf8")
	integers := json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
		kind := d.PeekKind()
		require(d.StackDepth() < 100 || kind != '[' && kind != '{', "json/syntax", "nested more than 100 deep")
		if kind != '0' {
			return errors.ErrUnsupported
		}
		raw, err := d.ReadValue()
		n, wrong := strconv.ParseInt(string(raw), 10, 64)
		require(err != nil || wrong == nil && raw[0] != '-' && n <= maxInt, "json/number")
		*v = n
		return err
	})
	err := json.Unmarshal(b, &v, json.WithUnmarshalers(integers))
	require(!errors.Is(err, jsontext.ErrDuplicateName), "json/duplicate-key", err)
	// The bytes are UTF-8. What is JSON for a reader that takes any text has half a surrogate pair as an escape.
	require(err == nil || !jsontext.Value(b).IsValid(jsontext.AllowInvalidUTF8(true)), "encoding/utf8", err)
	require(err == nil, "json/syntax", err)
	return v
}

// ---- shapes: how bundle.md, statements.cddl and state.md are written down here ----------------------------

// A shape says whether it fits a value, and gives what the value stands for.
type shape func(any) (any, bool)

func of[T any](fits func(T) bool) shape {
	return func(v any) (any, bool) {
		t, ok := v.(T)
		return v, ok && fits(t)
	}
}

func number(low, high int64) shape { return of(func(n int64) bool { return low <= n && n <= high }) }
func sized(n int) shape            { return of(func(b []byte) bool { return len(b) == n }) }
func one(texts ...string) shape    { return of(func(s string) bool { return slices.Contains(texts, s) }) }

func matching(pattern string, most int) shape {
	re := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	return of(func(s string) bool { return len(s) <= most && re.MatchString(s) })
}

// characters counts code points, none of them a control character as the end of statements.cddl has it.
func characters(most int) shape {
	return of(func(s string) bool {
		n := utf8.RuneCountInString(s)
		return 1 <= n && n <= most && !strings.ContainsFunc(s, func(c rune) bool {
			return c < 0x20 || 0x7f <= c && c <= 0x9f || c == 0x2028 || c == 0x2029
		})
	})
}

// in64 is bytes in base64, in JSON.
func in64(low, high int) shape {
	return func(v any) (any, bool) {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		return parseBase64(s, low, high), true
	}
}

func orNull(s shape) shape {
	return func(v any) (any, bool) {
		if v == nil {
			return nil, true
		}
		return s(v)
	}
}

func list(low, high int, member shape) shape {
	return func(v any) (any, bool) {
		l, ok := v.([]any)
		ok = ok && low <= len(l) && len(l) <= high
		for i := 0; ok && i < len(l); i++ {
			l[i], ok = member(l[i])
		}
		return l, ok
	}
}

// ascending is a list whose members strictly ascend, byte by byte; those that are maps, by their ids.
func ascending(low, high int, member shape) shape {
	all, name := list(low, high, member), func(v any) string {
		if m, ok := v.(object); ok {
			v = m["id"]
		}
		return fmt.Sprintf("%s", v)
	}
	return func(v any) (any, bool) {
		_, ok := all(v)
		l, _ := v.([]any)
		for i := 1; ok && i < len(l); i++ {
			ok = name(l[i-1]) < name(l[i])
		}
		return v, ok
	}
}

type fields map[string]shape

// record is a closed map; a field whose name ends in "?" may be left out.
func record(all fields) shape {
	names := slices.Sorted(maps.Keys(all)) // which of several faults is named does not hang on chance
	return func(v any) (any, bool) {
		m, ok := v.(object)
		known := 0
		for i := 0; ok && i < len(names); i++ {
			name, optional := strings.CutSuffix(names[i], "?")
			value, there := m[name]
			if ok = there || optional; there {
				known++
				m[name], ok = all[names[i]](value)
			}
		}
		return v, ok && known == len(m)
	}
}

func (f fields) and(more fields) fields {
	both := maps.Clone(f)
	maps.Copy(both, more)
	return both
}

func shaped(v any, s shape, code string) object {
	read, ok := s(v)
	require(ok, code, "not the fields that docs/spec has")
	return read.(object)
}

const (
	host63 = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`
	email  = "[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(" + host63 + `\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?`
)

var (
	text     = of(func(string) bool { return true })
	boolean  = of(func(bool) bool { return true })
	uint53   = number(0, maxInt)
	hash     = sized(32)
	partyID  = matching(`(`+host63+`\.)+`+host63, 253)
	systemID = matching(`[a-z0-9][a-z0-9._-]{0,63}`, 64)
	nameCode = matching(`[a-z0-9][a-z0-9._/-]{0,63}`, 64)
	ground   = matching(`[a-z0-9][a-z0-9().:_/-]{0,63}`, 64)
	origin   = of(func(s string) bool { return isName(s) && !strings.Contains(s, "://") && !strings.Contains(s, "#") })
	// locators.md
	locatorTypes = map[string]shape{"email": matching(email, 254), "phone": matching(`\+[1-9][0-9]{6,14}`, 16),
		"sha256": matching(`[0-9a-f]{64}`, 64), "record": matching(`[\x21-\x7e]{1,256}`, 256)}
)

// locatorType checks that a locator is canonical.
func locatorType(locator string) string {
	kind, value, colon := strings.Cut(locator, ":")
	canonical := locatorTypes[kind]
	require(colon && canonical != nil, "locator/type", kind)
	_, ok := canonical(value)
	require(ok, "locator/"+kind, value)
	return kind
}

// ---- checkpoint.md, Keys; vrf.md, good points -------------------------------------------------------------

var (
	identity = edwards25519.NewIdentityPoint()
	minusOne = edwards25519.NewScalar().Negate(scalar([]byte{1}))
)

// scalar reads up to 31 little-endian bytes, which are below the group order.
func scalar(b []byte) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetCanonicalBytes(append(slices.Clone(b), make([]byte, 32-len(b))...))
	if err != nil {
		panic(err)
	}
	return s
}

// decodePoint is RFC 8032 §5.1.3. The library also takes y ≥ p and x = 0 with the sign bit; both encode otherwise.
func decodePoint(b []byte) (p *edwards25519.Point, code string) {
	if len(b) != 32 {
		return nil, "key/length"
	}
	tooLarge := b[0] >= 0xed && b[31]|0x80 == 0xff && bytes.Count(b[1:31], []byte{0xff}) == 30
	p, err := new(edwards25519.Point).SetBytes(b)
	if tooLarge || err == nil && !bytes.Equal(p.Bytes(), b) {
		return nil, "key/not-canonical"
	}
	if err != nil {
		return nil, "key/not-a-point"
	}
	return p, ""
}

// goodPoint admits points of the prime-order subgroup other than the identity: q·P = (q − 1)·P + P = identity.
func goodPoint(b []byte) (p *edwards25519.Point, code string) {
	if p, code = decodePoint(b); code != "" {
		return nil, code
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(identity) == 1 {
		return nil, "key/small-order"
	}
	if q := new(edwards25519.Point).ScalarMult(minusOne, p); q.Add(q, p).Equal(identity) != 1 {
		return nil, "key/mixed-order"
	}
	return p, ""
}

func admit(public []byte) {
	_, code := goodPoint(public)
	require(code == "", code, hex.EncodeToString(public))
}

// verifyEd25519 wants an admitted key. crypto/ed25519 is as the page demands, but for R = identity.
func verifyEd25519(public, message, signature []byte) {
	require(len(signature) == 64 && !bytes.Equal(signature[:32], identity.Bytes()) &&
		ed25519.Verify(public, message, signature), "signature/invalid", "Ed25519 under ", hex.EncodeToString(public))
}

// ---- vrf.md, commitments.md -------------------------------------------------------------------------------

func sha64(parts ...[]byte) []byte {
	h := sha512.Sum512(slices.Concat(parts...))
	return h[:]
}

func encodeToCurve(key, alpha []byte) *edwards25519.Point {
	for ctr := range 256 {
		p, code := decodePoint(sha64([]byte{3, 1}, key, alpha, []byte{byte(ctr), 0})[:32])
		if code == "" && p.MultByCofactor(p).Equal(identity) != 1 {
			return p
		}
	}
	panic(&fault{"vrf/alpha", "no point found"})
}

func vrfChallenge(key []byte, h, gamma, u, v *edwards25519.Point) []byte {
	return sha64([]byte{3, 2}, key, h.Bytes(), gamma.Bytes(), u.Bytes(), v.Bytes(), []byte{0})[:16]
}

func vrfBeta(gamma *edwards25519.Point) []byte {
	return sha64([]byte{3, 3}, new(edwards25519.Point).MultByCofactor(gamma).Bytes(), []byte{0})
}

// vrfVerify gives beta, or nil for vrf/mismatch: the proof is of another input or key.
func vrfVerify(key, alpha, pi []byte) (beta []byte) {
	y, code := goodPoint(key)
	require(code == "", "vrf/key", code)
	require(len(pi) == 80, "vrf/proof-length", len(pi), " bytes")
	c, s := pi[32:48], edwards25519.NewScalar()
	_, err := s.SetCanonicalBytes(pi[48:])
	require(err == nil, "vrf/scalar", "s is not below the group order")
	gamma, code := goodPoint(pi[:32])
	require(code == "", "vrf/gamma", code)
	if scalar(c).Equal(scalar(nil)) == 1 || s.Equal(scalar(nil)) == 1 {
		return nil
	}
	h, minusC := encodeToCurve(key, alpha), edwards25519.NewScalar().Negate(scalar(c))
	u := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(minusC, y, s)
	v := new(edwards25519.Point).VarTimeMultiScalarMult([]*edwards25519.Scalar{s, minusC}, []*edwards25519.Point{h, gamma})
	if !bytes.Equal(vrfChallenge(key, h, gamma, u, v), c) {
		return nil
	}
	return vrfBeta(gamma)
}

func alphaOf(locator string) []byte { return []byte("attest/locator/1 " + locator) }

func indexOf(holder, system string, beta []byte) []byte {
	return labelled("index", []byte(holder), []byte(system), beta)
}

// ---- tree.md, Inclusion -----------------------------------------------------------------------------------

func leafHash(entry []byte) []byte       { return sha([]byte{0}, entry) }
func nodeHash(left, right []byte) []byte { return sha([]byte{1}, left, right) }
func mapLeaf(key, value []byte) []byte   { return sha([]byte{2}, key, value) }
func mapNode(left, right []byte) []byte  { return sha([]byte{3}, left, right) }

func hashes(all ...[]byte) bool {
	return !slices.ContainsFunc(all, func(h []byte) bool { return len(h) != 32 })
}

func checkInclusion(leaf []byte, index, size int64, path [][]byte, root []byte) {
	require(size >= 0, "inclusion/size", "2^63 entries or more")
	require(0 <= index && index < size, "inclusion/index", index, " of ", size)
	inner := bits.Len64(uint64(index ^ (size - 1)))
	require(len(path) == inner+bits.OnesCount64(uint64(index>>inner)), "inclusion/path-length", len(path), " hashes")
	require(hashes(path...) && hashes(leaf, root), "inclusion/hash-length")
	h := leaf
	for i, p := range path {
		if i >= inner || index>>i&1 == 1 {
			h = nodeHash(p, h)
		} else {
			h = nodeHash(h, p)
		}
	}
	require(bytes.Equal(h, root), "inclusion/root-mismatch", "entry ", index)
}

// ---- sparse-map.md ----------------------------------------------------------------------------------------

var zeros = make([]byte, 32)

func bit(key []byte, i int) byte { return key[i/8] >> (7 - i%8) & 1 }

type binding struct{ key, value []byte }

// mapRoot wants distinct keys of 32 bytes in ascending order; depth is 0.
func mapRoot(bound []binding, depth int) []byte {
	switch len(bound) {
	case 0:
		return zeros
	case 1:
		return mapLeaf(bound[0].key, bound[0].value)
	}
	split := 0
	for split < len(bound) && bit(bound[split].key, depth) == 0 {
		split++
	}
	return mapNode(mapRoot(bound[:split], depth+1), mapRoot(bound[split:], depth+1))
}

// lookUp gives the value that root binds to key, or nil if it binds none.
func lookUp(root, key, proof []byte) []byte {
	take := func(n int) []byte {
		require(n <= len(proof), "map-proof/truncated")
		b := proof[:n]
		proof = proof[n:]
		return b
	}
	depth := int(take(1)[0])
	bitmap := take((depth + 7) / 8)
	require(depth%8 == 0 || bitmap[depth/8]<<(depth%8) == 0, "map-proof/bitmap", "a bit beyond depth ", depth)
	siblings := make([][]byte, depth)
	for i := range siblings {
		if siblings[i] = zeros; bit(bitmap, i) == 1 {
			siblings[i] = take(32)
			require(!bytes.Equal(siblings[i], zeros), "map-proof/zero-sibling")
		}
	}
	terminal := take(1)[0]
	require(terminal <= 1, "map-proof/terminal", terminal)
	h, end, value := zeros, key, []byte(nil)
	if terminal == 1 {
		end, value = take(32), take(32)
		h = mapLeaf(end, value)
	}
	require(len(proof) == 0, "map-proof/trailing", len(proof), " bytes")
	require(hashes(root, key), "map-proof/hash-length")
	for i := range depth {
		require(bit(end, i) == bit(key, i), "map-proof/foreign-terminal")
	}
	for i := depth - 1; i >= 0; i-- {
		if bit(key, i) == 1 {
			h = mapNode(siblings[i], h)
		} else {
			h = mapNode(h, siblings[i])
		}
	}
	require(bytes.Equal(h, root), "map-proof/root-mismatch")
	if !bytes.Equal(end, key) {
		return nil
	}
	return value
}

// ---- checkpoint.md ----------------------------------------------------------------------------------------

// unicodeSpace has the spaces that the page lists.
func unicodeSpace(c rune) bool {
	return strings.ContainsRune(" \u00a0\u1680\u2028\u2029\u202f\u205f\u3000", c) || 0x2000 <= c && c <= 0x200a
}

func isName(s string) bool {
	return 1 <= len(s) && len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return c == '+' || c < 0x20 || 0x7f <= c && c <= 0x9f || unicodeSpace(c)
	})
}

const (
	typeEd25519     = 1 // of a log
	typeCosignature = 4 // Ed25519, of a witness
	typeMLDSA44     = 6 // of either
)

type vkey struct {
	name       string
	kind       byte
	id, public []byte
}

// newVkey admits the key, and gives it its ID as C2SP signed-note does.
func newVkey(name string, kind byte, public []byte) vkey {
	require(isName(name), "note/name", name)
	if kind == typeMLDSA44 {
		require(len(public) == mldsa.MLDSA44PublicKeySize, "key/length", len(public), " bytes")
	} else {
		admit(public)
	}
	return vkey{name, kind, sha([]byte(name), []byte{'\n', kind}, public)[:4], public}
}

func parseVkey(s string) vkey {
	parts := strings.SplitN(s, "+", 3)
	require(len(parts) == 3, "note/vkey", s)
	id, raw := parseHex(parts[1], 4, 4), parseBase64(parts[2], 0, anySize)
	known := len(raw) > 0 && (raw[0] == typeEd25519 || raw[0] == typeCosignature || raw[0] == typeMLDSA44)
	require(known, "note/vkey-type", s)
	k := newVkey(parts[0], raw[0], raw[1:])
	require(bytes.Equal(k.id, id), "note/key-id", s)
	return k
}

type signatureLine struct {
	name          string
	id, signature []byte
}

func parseNote(b []byte) (text string, lines []signatureLine) {
	require(len(b) <= 1<<20, "note/size", len(b), " bytes")
	require(utf8.Valid(b), "encoding/utf8")
	s := string(b)
	control := strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 && c != '\n' })
	require(!control, "note/control-character")
	end := strings.LastIndex(s, "\n\n")
	require(end >= 0, "note/blank-line")
	require(strings.HasSuffix(s, "\n"), "note/final-newline")
	text, s = s[:end+1], s[end+2:]
	n := strings.Count(s, "\n")
	require(1 <= n && n <= 100, "note/signatures", n)
	for line := range strings.Lines(s) {
		rest, dash := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "— ")
		name, encoded, space := strings.Cut(rest, " ")
		require(dash && space, "note/signature-line", line)
		require(isName(name), "note/name", name)
		raw := parseBase64(encoded, 0, anySize)
		require(len(raw) >= 5, "note/signature-line", line)
		lines = append(lines, signatureLine{name, raw[:4], raw[4:]})
	}
	return text, lines
}

type checkpoint struct {
	text, origin string
	size         int64
	root         []byte
	lines        []signatureLine
}

func parseCheckpoint(b []byte) checkpoint {
	text, signatures := parseNote(b)
	c := parseCheckpointText(text)
	c.lines = signatures
	return c
}

func parseCheckpointText(text string) checkpoint {
	lines := strings.Split(text, "\n")
	require(len(lines) >= 4 && lines[len(lines)-1] == "", "checkpoint/lines")
	require(len(lines) == 4, "checkpoint/extension")
	require(isName(lines[0]), "checkpoint/origin", lines[0])
	return checkpoint{text, lines[0], parseDecimal(lines[1]), parseBase64(lines[2], 32, 32), nil}
}

// message is what key signs at a time: of a log's Ed25519 key, of a cosignature, of a subtree.
func (c checkpoint) message(k vkey, time int64) []byte {
	switch k.kind {
	case typeEd25519:
		return []byte(c.text)
	case typeCosignature:
		return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", time, c.text)
	}
	b := append([]byte("subtree/v1\n\x00"), byte(len(k.name)))
	b = binary.BigEndian.AppendUint64(append(b, k.name...), uint64(time))
	b = append(append(b, byte(len(c.origin))), c.origin...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, 0), uint64(c.size))
	return append(b, c.root...)
}

// verifyLine gives the time that the line names, 0 for one that has none.
func (c checkpoint) verifyLine(k vkey, signature []byte) (time int64) {
	if k.kind != typeEd25519 {
		require(len(signature) >= 8, "signature/invalid", "no time in the line of ", k.name)
		time, signature = int64(binary.BigEndian.Uint64(signature)), signature[8:]
		require(time >= 0, "cosignature/time", k.name, " names a time beyond 2^63 - 1")
	}
	if k.kind != typeMLDSA44 {
		verifyEd25519(k.public, c.message(k, time), signature)
		return time
	}
	public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), k.public)
	valid := err == nil && mldsa.Verify(public, c.message(k, time), signature, nil) == nil
	require(valid, "signature/invalid", "ML-DSA-44 of ", k.name)
	return time
}

type signer struct {
	vkey
	time int64 // the earliest, of a witness
}

// signers gives those of the keys that signed, in their order. A line of one of them that does not verify refuses the
// checkpoint. A witness has to say when; a log, and a witness's key under this log's name, need not.
func (c checkpoint) signers(keys []vkey, witnesses bool) (all []signer) {
	earliest := map[int]int64{}
	for _, line := range c.lines {
		same := func(k vkey) bool { return k.name == line.name && bytes.Equal(k.id, line.id) }
		if i := slices.IndexFunc(keys, same); i >= 0 {
			time := c.verifyLine(keys[i], line.signature)
			require(time > 0 || !witnesses || line.name == c.origin, "cosignature/time", line.name, " does not say when")
			if old, again := earliest[i]; !again || time < old {
				earliest[i] = time
			}
		}
	}
	for i, k := range keys {
		if time, signed := earliest[i]; signed {
			all = append(all, signer{k, time})
		}
	}
	return all
}

// logSigners gives those of the log keys that signed under this origin, or the code that says why there is none.
func (c checkpoint) logSigners(keys []vkey) (ours []signer, missing string) {
	missing = "checkpoint/unsigned"
	for _, s := range c.signers(keys, false) {
		if missing = "checkpoint/foreign"; s.name == c.origin {
			ours = append(ours, s)
		}
	}
	if len(ours) > 0 {
		missing = ""
	}
	return ours, missing
}

// ---- policy.md --------------------------------------------------------------------------------------------

type group struct {
	name    string
	k       int64
	members []string
}

type policy struct {
	logs, witnesses []vkey
	names           []string // of the witnesses, in the policy
	groups          []group
	quorum          string
}

func parsePolicy(b []byte) *policy {
	s := string(b)
	require(len(s) <= 1<<20, "policy/size", len(s), " bytes")
	require(strings.HasSuffix(s, "\n"), "policy/final-newline")
	control := func(c rune) bool { return c < 0x20 && c != '\n' && c != '\t' || c == 0x7f }
	require(!strings.ContainsFunc(s, control), "policy/character", "a control character")
	p, quorums, known, grouped := &policy{}, 0, map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(s) {
		f := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' })
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		odd := func(c rune) bool { return c != ' ' && unicodeSpace(c) || c == 0x85 }
		require(!strings.ContainsFunc(line, odd), "policy/character", line)
		require(!strings.Contains(line, "#"), "policy/hash-sign", line)
		fields := map[string][2]int{"log": {2, 3}, "witness": {3, 4}, "group": {4, math.MaxInt}, "quorum": {2, 2}}[f[0]]
		require(fields[0] > 0, "policy/keyword", line)
		require(fields[0] <= len(f) && len(f) <= fields[1], "policy/fields", line)
		name := f[1]
		switch f[0] {
		case "log":
			k := parseVkey(name)
			require(k.kind != typeCosignature, "policy/key-type", line)
			p.logs = append(p.logs, k)
			continue
		case "quorum":
			quorums++
			require(name == "none" || known[name], "policy/undefined", line)
			p.quorum = name
			continue
		case "witness":
			k := parseVkey(f[2])
			require(k.kind != typeEd25519, "policy/key-type", line)
			p.names, p.witnesses = append(p.names, name), append(p.witnesses, k)
		case "group":
			g := group{name, 1, f[3:]}
			for _, m := range g.members {
				require(known[m], "policy/undefined", m)
				require(!grouped[m], "policy/member-twice", m)
				grouped[m] = true
			}
			if f[2] == "all" {
				g.k = int64(len(g.members))
			} else if f[2] != "any" {
				g.k = parseDecimal(f[2])
			}
			require(1 <= g.k && g.k <= int64(len(g.members)), "policy/threshold", line)
			p.groups = append(p.groups, g)
		}
		require(name != "none", "policy/name", line)
		require(!known[name], "policy/name-twice", name)
		known[name] = true
	}
	require(quorums == 1, "policy/quorum", quorums)
	require(len(p.logs)+len(p.witnesses)+len(p.groups) <= 1000, "policy/size", "more than 1,000 definitions")
	keys, origins := map[string]bool{}, map[string]bool{}
	for _, k := range slices.Concat(p.logs, p.witnesses) {
		require(!keys[string(k.public)], "policy/key-twice", k.name)
		keys[string(k.public)] = true
	}
	for _, l := range p.logs {
		origins[l.name] = true
	}
	for _, w := range p.witnesses {
		require(!origins[w.name], "policy/log-as-witness", w.name)
	}
	return p
}

// met says whether these witnesses meet the quorum.
func (p *policy) met(by []signer) bool {
	met := map[string]bool{"none": true} // a quorum, never a member
	for i, w := range p.witnesses {
		met[p.names[i]] = slices.ContainsFunc(by, func(s signer) bool { return bytes.Equal(s.public, w.public) })
	}
	for _, g := range p.groups { // members stand above their group
		n := int64(0)
		for _, m := range g.members {
			if met[m] {
				n++
			}
		}
		met[g.name] = n >= g.k
	}
	return met[p.quorum]
}

type judgement struct {
	logs, witnesses []signer
	missing         string // why the logs it lists have not signed; "" if one has
	quorum          bool
	existedBy       int64 // 0: there is none
}

// judge is the section Verdict. What it refuses, it refuses as forged; that a signature is missing is its answer.
func (p *policy) judge(c checkpoint) (j judgement) {
	if len(p.logs) > 0 {
		j.logs, j.missing = c.logSigners(p.logs)
	}
	j.witnesses = slices.DeleteFunc(c.signers(p.witnesses, true), func(s signer) bool { return s.name == c.origin })
	slices.SortStableFunc(j.witnesses, func(a, b signer) int { return cmp.Compare(a.time, b.time) })
	j.quorum = p.met(nil)
	for i, w := range j.witnesses {
		if !j.quorum && p.met(j.witnesses[:i+1]) {
			j.quorum, j.existedBy = true, w.time
		}
	}
	return j
}

// ---- statements.md, statements.cddl -----------------------------------------------------------------------

var (
	newKey     = record(fields{"key": hash, "use": one("sign", "recover"), "proof": sized(64)})
	series     = record(fields{"suite": number(3, 3), "hash": hash})
	sizedRoot  = record(fields{"origin": origin, "size": uint53, "root": hash})
	descriptor = record(fields{"id": systemID,
		"kind": one("database", "search", "warehouse", "cache", "log", "model", "backup", "processor", "saas", "paper",
			"other"),
		"assets": ascending(0, 16, nameCode), "locators": ascending(1, 8, nameCode),
		"retention": orNull(characters(500)), "backup_cycle": orNull(uint53),
		"processor_log": orNull(origin), "retired": boolean})
	payloads = map[string]shape{
		"log/1": payload(fields{"origin": origin,
			"keys": record(fields{"statements": hash, "receipts": hash, "note_ed25519": hash,
				"note_mldsa44": sized(mldsa.MLDSA44PublicKeySize)}),
			"limits": record(fields{"rows": number(1, 1048576), "statement": number(1024, 16384),
				"skew": number(1, 3600), "silence": number(1, 86400)}),
			"predecessor": orNull(sizedRoot)}),
		"policy/1": payload(fields{"name": nameCode, "digest": hash}),
		"party/1": payload(fields{"id": partyID, "role": one("holder", "authority", "auditor"),
			"name": characters(200), "legal_id": characters(200),
			"check": record(fields{"method": one("operator", "domain"), "time": uint53}),
			"keys":  list(2, 16, newKey), "vrf": list(0, 1, series)}),
		"keys/1":      payload(fields{"add": list(0, 16, newKey), "revoke": ascending(0, 16, hash)}),
		"party-end/1": payload(fields{}),
		"systems/1":   payload(fields{"systems": ascending(1, 64, descriptor)}),
		"hold/1": payload(fields{"count": number(1, 1048576), "root": hash,
			"cause": one("collected", "backfill", "restored", "corrected", "retracted", "migrated")}),
		"tombstone/1": payload(fields{"count": number(1, 1048576), "root": hash, "erased_at": uint53,
			"method": one("logical_delete", "row_delete_committed", "compacted", "overwritten", "nist:clear",
				"nist:purge", "nist:purge:cryptographic_erase", "nist:destroy", "anonymised", "aggregated", "deidentified",
				"returned", "expired_by_retention"),
			"level": one("none", "logical", "physical"), "ground": ground}),
		"epoch/1": payload(fields{"number": uint53, "time": uint53, "root": hash}),
	}
	protected = record(fields{"\xff1": number(-19, -19), "\xff3": one("application/vnd.attest.statement+cbor"),
		"\xff4": hash, "\xff16": one("application/scitt-statement+cose"),
		"\xff15": record(fields{"\xff1": characters(512), "\xff2": characters(512),
			"\xff3": characters(512), "\xff6": uint53})})
)

func payload(own fields) shape {
	return record(own.and(fields{"kind": text, "seq": uint53, "about?": partyID, "ref?": list(1, 16, hash)}))
}

type statement struct {
	position                       int64
	kind, issuer, stream, audience string
	issuedAt                       int64
	kid, signed, signature         []byte // signed: the Sig_structure
	payload                        object
}

// bstr is a CBOR byte string of less than 65,536 bytes.
func bstr(b []byte) []byte {
	head := []byte{0x59, byte(len(b) >> 8), byte(len(b))}
	if len(b) < 24 {
		head = []byte{0x40 | byte(len(b))}
	} else if len(b) < 256 {
		head = []byte{0x58, byte(len(b))}
	}
	return append(head, b...)
}

func parseStatement(entry []byte) *statement {
	require(len(entry) <= 16384, "statement/size", len(entry), " bytes")
	require(bytes.HasPrefix(entry, []byte{0xd2, 0x84}), "statement/cose", "no tagged COSE_Sign1")
	envelope := parseCBOR(entry[1:]).([]any) // 84 is an array of four
	header, ok := envelope[0].([]byte)
	unprotected, empty := envelope[1].(object)
	body, attached := envelope[2].([]byte)
	signature, signed := envelope[3].([]byte)
	require(ok && empty && len(unprotected) == 0 && attached && signed && len(signature) == 64, "statement/cose")
	h, _ := parseCBOR(header).(object)
	require(h["\xff1"] == int64(-19), "statement/alg", "not Ed25519")
	shaped(h, protected, "statement/header")
	p, _ := parseCBOR(body).(object)
	kind, _ := p["kind"].(string)
	require(payloads[kind] != nil, "statement/kind", kind)
	shaped(p, payloads[kind], "statement/field")
	require(kind != "keys/1" || len(members[any](p, "add"))+len(members[any](p, "revoke")) > 0, "statement/field")
	claims := at[object](h, "\xff15")
	return &statement{0, kind, at[string](claims, "\xff1"), at[string](claims, "\xff2"), at[string](claims, "\xff3"),
		at[int64](claims, "\xff6"), at[[]byte](h, "\xff4"),
		slices.Concat([]byte("\x84\x6aSignature1"), bstr(header), []byte{0x40}, bstr(body)), signature, p}
}

func (s *statement) verify(public []byte) {
	admit(public)
	verifyEd25519(public, s.signed, s.signature)
}

// thumbprint is the kid of a key, RFC 9679.
func thumbprint(key []byte) []byte { return sha([]byte("\xa3\x01\x01\x20\x06\x21\x58\x20"), key) }

// ---- state.md ---------------------------------------------------------------------------------------------

const (
	held   = 1
	erased = 2
)

type state struct {
	status     byte
	position   uint64
	commitment []byte
}

func parseState(b []byte) *state {
	require(len(b) == 49, "state/size", len(b), " bytes")
	require(b[0] == held || b[0] == erased, "state/unknown-status", b[0])
	return &state{b[0], binary.BigEndian.Uint64(b[9:]), b[17:]}
}

var (
	systemHead = record(fields{"system": systemID, "status": uint53, "descriptor": hash, "root": hash,
		"held": uint53, "erased": uint53, "reheld": uint53, "entries": uint53,
		"chain": hash, "other": hash})
	headKey = record(fields{"key": hash, "use": one("sign", "recover"), "from": uint53,
		"until": orNull(uint53)})
	ofParty = fields{"party": text, "role": one("holder", "authority", "auditor", "log"), "status": uint53,
		"admitted": uint53, "own": uint53, "recovery": uint53, "keys": list(0, 64, headKey), "vrf": list(0, 1, series),
		"systems": record(fields{"count": uint53, "root": hash}), "entries": uint53, "chain": hash, "other": hash}
	partyHead = record(ofParty)
	logHead   = record(ofParty.and(fields{
		"epoch": record(fields{"number": uint53, "time": uint53, "latest": uint53}),
		"rules": record(fields{"name": nameCode, "digest": hash})}))
)

// parseHead wants a head that is bound: one that is not is a forgery, whatever it says of extensions.
func parseHead(b []byte, s shape) object {
	value := parseCBOR(b)
	if m, _ := value.(object); m["role"] == "log" {
		s = logHead
	}
	head := shaped(value, s, "head/fields")
	status, other := at[int64](head, "status"), at[[]byte](head, "other")
	require((status == 1 || status == 2) && bytes.Equal(other, zeros), "head/unknown-extension", "status ", status)
	return head
}

// ---- bundle.md --------------------------------------------------------------------------------------------

const (
	maxFile     = 64 << 20 // bytes
	maxLocators = 64
	maxSystems  = 10000
	maxStates   = maxLocators * maxSystems
	maxHead     = 16384 // bytes, of a head and of a descriptor
)

var (
	hashPath    = list(0, 63, in64(32, 32))
	bundleShape = record(fields{"format": one("attest-bundle/1"), "kind": text, "checkpoint": text,
		"entries": list(0, maxStates, record(fields{"position": uint53, "entry": in64(0, anySize),
			"path": hashPath})),
		"holder":   record(fields{"party": text, "head": in64(0, maxHead), "proof": in64(0, anySize)}),
		"vrf":      record(fields{"suite": uint53, "key": in64(32, 32)}),
		"locators": list(1, maxLocators, record(fields{"type": text, "proof": in64(80, 80)})),
		"systems":  list(0, maxSystems, record(fields{"head": in64(0, maxHead), "descriptor": in64(0, maxHead)})),
		"states": list(0, maxStates, record(fields{"locator": uint53, "system": text,
			"state": orNull(in64(49, 49)), "proof": in64(0, anySize)})),
		"rows": list(0, 2*maxStates, record(fields{"locator": uint53, "system": text, "entry": uint53,
			"position": uint53, "commitment": in64(32, 32), "path": hashPath}))})
	keepsakeShape = record(fields{"format": one("attest-keepsake/1"), "warning": text, "origin": origin,
		"holder": partyID, "locator": text,
		"vrf": record(fields{"suite": uint53, "key": in64(32, 32), "proof": in64(80, 80)}),
		"holds": list(0, maxSystems, record(fields{"system": systemID, "entry": uint53, "entry_id": text,
			"blind": in64(32, 32), "records": list(0, 1000000, matching(`[0-9a-f]{64}`, 64)),
			"bundle": func(v any) (any, bool) { b := readBundle(v); return b, b.kind == "hold" }}))})
)

type bundle struct {
	object
	kind       string
	single     bool // a hold or tombstone: about one row, and nothing of an inventory
	checkpoint checkpoint
}

func readBundle(v any) *bundle {
	o := shaped(v, bundleShape, "json/field")
	kind := at[string](o, "kind")
	counts := [3]int{len(members[any](o, "systems")), len(members[any](o, "states")), len(members[any](o, "rows"))}
	single := kind == "hold" || kind == "tombstone"
	fits := kind == "certificate" || kind == "lookup" && counts[2] == 0 || single && counts == [3]int{0, 0, 1}
	require(fits, "bundle/kind", kind, " with systems, states, rows: ", counts)
	return &bundle{o, kind, single, parseCheckpoint([]byte(at[string](o, "checkpoint")))}
}

// parseBundle is step 1. What never claimed to be a bundle is not a forged one, and neither is a keepsake.
func parseBundle(file []byte) *bundle {
	var v any
	malformed := catch(func() { v = parseJSON(file, maxFile) })
	o, _ := v.(object)
	ours := o["format"] == "attest-bundle/1"
	if start := file[:min(len(file), 4096)]; malformed != nil {
		ours = bytes.Contains(start, []byte("attest-bundle/1")) && !bytes.Contains(start, []byte("attest-keepsake/1"))
	}
	require(ours, "bundle/format", "not a bundle")
	if malformed != nil {
		panic(malformed)
	}
	return readBundle(v)
}

func parseKeepsake(file []byte) object {
	k := shaped(parseJSON(file, maxFile), keepsakeShape, "json/field")
	locatorType(at[string](k, "locator"))
	return k
}
