package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	"github.com/cloudoptim/cloudoptim/pkg/pgtest"

	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// tenant is what belongs to one customer: ids by column, and everything by which an answer would give it away.
type tenant struct {
	ids     map[string]string
	secrets map[string]bool
}

// tenantOf reads what is the customer's from every table, as the wall shows it.
func tenantOf(t *testing.T, h *house, customer, mark string) tenant {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "SELECT set_config('cloudoptim.customer', $1, false)", customer); err != nil {
		t.Fatal(err)
	}
	one := tenant{ids: map[string]string{}, secrets: map[string]bool{}}
	for _, table := range pgtest.Walled(t, h.db) {
		rows, err := conn.Query(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			for i, field := range rows.FieldDescriptions() {
				switch value := values[i].(type) {
				case [16]byte:
					id := uuid.UUID(value).String()
					one.ids[field.Name], one.secrets[id] = id, true
				case string:
					if strings.Contains(value, mark) {
						one.secrets[value] = true
					}
				}
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	one.ids["customer_id"] = customer
	return one
}

// walk calls RPCs with messages made up from their descriptors.
type walk struct {
	conn         *grpc.ClientConn
	ours, theirs tenant
}

// idLike tells whether a field names something by an id of ours.
func idLike(field protoreflect.FieldDescriptor) bool {
	name := string(field.Name())
	if field.Kind() != protoreflect.StringKind || !strings.HasSuffix(name, "_id") && !strings.HasSuffix(name, "_ids") {
		return false
	}
	rules := rulesOf(field)
	if field.IsList() {
		rules = rules.GetRepeated().GetItems()
	}
	return rules.GetString().GetUuid()
}

func rulesOf(field protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return rules
}

// idFields are the paths to the ids in a message, also in those of its messages that are there.
func idFields(msg protoreflect.Message, at []protoreflect.FieldDescriptor) [][]protoreflect.FieldDescriptor {
	var all [][]protoreflect.FieldDescriptor
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		path := append(slices.Clone(at), field)
		switch {
		case idLike(field):
			all = append(all, path)
		case field.Message() != nil && !field.IsList() && !field.IsMap() && msg.Has(field) && len(at) < 3:
			all = append(all, idFields(msg.Get(field).Message(), path)...)
		}
	}
	return all
}

// name puts somebody's id into a field.
func (one tenant) name(msg protoreflect.Message, path []protoreflect.FieldDescriptor) {
	for _, field := range path[:len(path)-1] {
		msg = msg.Mutable(field).Message()
	}
	field := path[len(path)-1]
	column := strings.TrimSuffix(string(field.Name()), "s")
	id, ok := one.ids[column]
	if !ok {
		id = one.ids["cluster_id"] // of a kind that no table has
	}
	if field.IsList() {
		list := msg.Mutable(field).List()
		list.Truncate(0)
		list.Append(protoreflect.ValueOfString(id))
		return
	}
	msg.Set(field, protoreflect.ValueOfString(id))
}

// candidates are texts of which one fits, whatever the rules of a field are.
var candidates = []string{
	"walked", uuid.NewString(), "walked@example.com", "0123456789abcdef", strings.Repeat("0123456789abcdef", 4), "us-east-1", "0 8 * * 1-5",
	"08:00", "mon", "UTC", "spot", "cluster_name", "day", "30d", "1", "c5.large", "arn:aws:iam::123456789012:role/walked", "i-0123456789abcdef0", "default", "2026-01-01",
}

// example is a message that passes the contract's rules with as little as possible in it.
func example(t *testing.T, desc protoreflect.MessageDescriptor) *dynamicpb.Message {
	t.Helper()
	msg := dynamicpb.NewMessage(desc)
	for range 40 {
		broken := violations(t, msg)
		if len(broken) == 0 {
			return msg
		}
		if !repair(t, msg, broken[0]) {
			t.Fatalf("no valid %s can be made up: %s; add a candidate", desc.FullName(), broken[0])
		}
	}
	t.Fatalf("no valid %s can be made up", desc.FullName())
	return nil
}

func violations(t *testing.T, msg proto.Message) []*validate.Violation {
	t.Helper()
	err := protovalidate.Validate(msg)
	var broken *protovalidate.ValidationError
	if err == nil {
		return nil
	}
	if !errors.As(err, &broken) {
		t.Fatal(err)
	}
	return broken.ToProto().GetViolations()
}

// repair makes one violation go away, if it can.
func repair(t *testing.T, root *dynamicpb.Message, broken *validate.Violation) bool {
	t.Helper()
	msg, elements := protoreflect.Message(root), broken.GetField().GetElements()
	if len(elements) == 0 {
		return false
	}
	for _, step := range elements[:len(elements)-1] {
		field := msg.Descriptor().Fields().ByName(protoreflect.Name(step.GetFieldName()))
		if field.IsList() {
			msg = msg.Mutable(field).List().Get(int(step.GetIndex())).Message()
			continue
		}
		msg = msg.Mutable(field).Message()
	}
	last := elements[len(elements)-1]
	field := msg.Descriptor().Fields().ByName(protoreflect.Name(last.GetFieldName()))
	if field == nil { // a oneof: its first
		field = msg.Descriptor().Oneofs().ByName(protoreflect.Name(last.GetFieldName())).Fields().Get(0)
	}
	path := protovalidate.FieldPathString(broken.GetField())
	for _, value := range values(msg, field) {
		if field.IsList() {
			list := msg.Mutable(field).List()
			list.Truncate(0)
			list.Append(value)
		} else {
			msg.Set(field, value)
		}
		if !slices.ContainsFunc(violations(t, root), func(v *validate.Violation) bool {
			return protovalidate.FieldPathString(v.GetField()) == path && v.GetRuleId() == broken.GetRuleId()
		}) {
			return true
		}
	}
	return false
}

// values are what a field, or an element of its list, may hold.
func values(msg protoreflect.Message, field protoreflect.FieldDescriptor) (all []protoreflect.Value) {
	rules := rulesOf(field)
	if field.IsList() && rules.GetRepeated().GetItems() != nil {
		rules = rules.GetRepeated().GetItems()
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		for _, text := range slices.Concat(rules.GetString().GetIn(), candidates) {
			all = append(all, protoreflect.ValueOfString(text))
		}
	case protoreflect.MessageKind:
		value := protoreflect.ValueOfMessage(dynamicpb.NewMessage(field.Message()))
		if !field.IsList() {
			value = protoreflect.ValueOfMessage(msg.NewField(field).Message())
		}
		if seconds := field.Message().Fields().ByName("seconds"); seconds != nil && strings.HasPrefix(string(field.Message().FullName()), "google.protobuf.") {
			value.Message().Set(seconds, protoreflect.ValueOfInt64(time.Now().Add(time.Hour).Unix()))
		}
		all = append(all, value)
	case protoreflect.Int32Kind:
		for _, n := range []int32{1, 7, 60, 1000} {
			all = append(all, protoreflect.ValueOfInt32(n))
		}
	case protoreflect.Int64Kind:
		for _, n := range []int64{1, 7, 60, 1000} {
			all = append(all, protoreflect.ValueOfInt64(n))
		}
	case protoreflect.DoubleKind:
		all = append(all, protoreflect.ValueOfFloat64(0.5), protoreflect.ValueOfFloat64(1))
	case protoreflect.BytesKind:
		all = append(all, protoreflect.ValueOfBytes([]byte("walked")))
	case protoreflect.BoolKind:
		all = append(all, protoreflect.ValueOfBool(true))
	case protoreflect.EnumKind:
		all = append(all, protoreflect.ValueOfEnum(1))
	default: // none is in a request
	}
	return all
}

// variant is a message to call an RPC with, and what it names of the other customer's.
type variant struct {
	what  string
	msg   *dynamicpb.Message
	names []string
}

// variants of a call: naming nobody, everything of theirs, and one thing of theirs among ours; of each again
// with every value of the closed sets, one at a time.
func (w walk) variants(t *testing.T, desc protoreflect.MessageDescriptor) []variant {
	t.Helper()
	bases := []*dynamicpb.Message{example(t, desc)}
	fields := desc.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case field.Kind() == protoreflect.StringKind && !field.IsList():
			for _, value := range rulesOf(field).GetString().GetIn() {
				other := proto.Clone(bases[0]).(*dynamicpb.Message)
				other.Set(field, protoreflect.ValueOfString(value))
				bases = append(bases, other)
			}
		case field.Message() != nil && !field.IsList() && !field.IsMap() && hasIDs(field.Message()): // a message that may be left out
			other := proto.Clone(bases[0]).(*dynamicpb.Message)
			other.Set(field, protoreflect.ValueOfMessage(example(t, field.Message())))
			bases = append(bases, other)
		}
	}
	var all []variant
	for _, base := range bases {
		paths := idFields(base, nil)
		all = append(all, variant{what: "nobody's", msg: base})
		if len(paths) == 0 {
			continue
		}
		every := variant{what: "theirs", msg: proto.Clone(base).(*dynamicpb.Message)}
		for _, path := range paths {
			w.theirs.name(every.msg, path)
			every.names = append(every.names, string(path[len(path)-1].Name()))
		}
		all = append(all, every)
		for _, one := range paths {
			mixed := variant{what: "mixed", msg: proto.Clone(base).(*dynamicpb.Message), names: []string{string(one[len(one)-1].Name())}}
			for _, path := range paths {
				w.ours.name(mixed.msg, path)
			}
			w.theirs.name(mixed.msg, one)
			alone := variant{what: "alone", msg: proto.Clone(base).(*dynamicpb.Message), names: mixed.names}
			w.theirs.name(alone.msg, one)
			all = append(all, mixed, alone)
		}
	}
	return slices.DeleteFunc(all, func(v variant) bool { return protovalidate.Validate(v.msg) != nil })
}

func hasIDs(desc protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(desc.FullName()), "cloudoptim.") && len(idFields(dynamicpb.NewMessage(desc), nil)) > 0
}

// call calls an RPC and returns its first answer.
func (w walk) call(ctx context.Context, m protoreflect.MethodDescriptor, req proto.Message) (*dynamicpb.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	resp := dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingClient() && !m.IsStreamingServer() {
		return resp, w.conn.Invoke(ctx, path, req, resp)
	}
	stream, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, path)
	if err == nil {
		_ = stream.SendMsg(req) // the status comes with RecvMsg
		_ = stream.CloseSend()
		err = stream.RecvMsg(resp)
	}
	return resp, err
}

// refusals are what an RPC may say of what belongs to others.
var refusals = []codes.Code{codes.NotFound, codes.PermissionDenied, codes.Unimplemented}

// check calls an RPC as one of our people, in every variant, and looks at what comes out.
func (w walk) check(t *testing.T, who string, ctx context.Context, m protoreflect.MethodDescriptor, variants []variant) (refused bool) { //nolint:revive // the test comes first
	t.Helper()
	for _, v := range variants {
		resp, err := w.call(ctx, m, v.msg)
		said := protojson.Format(resp)
		if err != nil {
			st := status.Convert(err)
			said = fmt.Sprint(st.Message(), st.Details())
			for _, id := range w.theirs.ids { // that the caller said itself
				if strings.Contains(protojson.Format(v.msg), id) {
					said = strings.ReplaceAll(said, id, "")
				}
			}
		}
		for secret := range w.theirs.secrets {
			if strings.Contains(said, secret) {
				t.Errorf("%s by %s, naming %s %v: the answer has %q of another customer: %s", m.FullName(), who, v.what, v.names, secret, said)
				break
			}
		}
		code := status.Code(err)
		refused = refused || (len(v.names) > 0 && slices.Contains(refusals, code))
		switch {
		case code == codes.Unauthenticated && m.Name() == "CreateSession": // the made-up key is none
		case code == codes.Unauthenticated, code == codes.Internal, code == codes.Unknown, code == codes.DeadlineExceeded:
			t.Errorf("%s by %s, naming %s %v: %v", m.FullName(), who, v.what, v.names, err)
		case len(v.names) > 0 && code == codes.OK:
			t.Errorf("%s by %s, naming %s %v of another customer: done: %s\n%s", m.FullName(), who, v.what, v.names, protojson.Format(v.msg), said)
		}
	}
	return refused
}

// served are the RPCs that central serves, those that take things away last.
func served() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if file.Package() != "cloudoptim.admin.v1" && file.Package() != "cloudoptim.agent.v1" {
			return true
		}
		for i := range file.Services().Len() {
			for j := range file.Services().Get(i).Methods().Len() {
				all = append(all, file.Services().Get(i).Methods().Get(j))
			}
		}
		return true
	})
	takes := func(m protoreflect.MethodDescriptor) int {
		for _, verb := range []string{"Delete", "Disconnect", "Revoke", "End", "Update"} {
			if strings.HasPrefix(string(m.Name()), verb) {
				return 1
			}
		}
		return 0
	}
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int {
		if takes(a) != takes(b) {
			return takes(a) - takes(b)
		}
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return all
}

// fingerprint is of all rows of a customer that only its own people change.
func (h *house) fingerprint(t *testing.T, customer string) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if _, err := conn.Exec(t.Context(), "SELECT set_config('cloudoptim.customer', $1, false)", customer); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, table := range []string{"customers", "clusters", "members", "api_keys", "sessions", "policies", "stops", "schedules", "nodes", "pods"} {
		var there bool
		if err := conn.QueryRow(t.Context(), "SELECT to_regclass($1) IS NOT NULL", table).Scan(&there); err != nil || !there {
			continue // of a branch that is not here yet
		}
		var sum string // but what central itself writes down of schedules
		if err := conn.QueryRow(t.Context(), "SELECT count(*) || ' ' || coalesce(md5(string_agg(r::text, '' ORDER BY r::text)), '') FROM "+
			"(SELECT to_jsonb(x) - '{look_at,phase,held_because,generation,retry_at}'::text[] AS r FROM "+table+" x) rows").Scan(&sum); err != nil {
			t.Fatal(err)
		}
		all[table] = sum
	}
	return all
}

func TestNoRPCReachesWhatBelongsToAnotherCustomer(t *testing.T) {
	h := open(t, (&ml{}).serve(t), 1<<30)
	rival, rivalKey := h.newCustomer(t, "Rival Inc.", "boss@rival.example.com")
	made := h.must(t, 201, "POST", "/api/v1/admin/clusters", rivalKey, `{"cluster_name": "rival-prod", "region": "us-east-1"}`).(map[string]any)
	theirCluster := made["cluster"].(map[string]any)["cluster_id"].(string)
	pgtest.Stock(t, h.db, uuid.MustParse(h.customer), uuid.MustParse(h.cluster), "mine")
	pgtest.Stock(t, h.db, uuid.MustParse(rival), uuid.MustParse(theirCluster), "rival")
	conn, err := grpc.NewClient(h.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := walk{conn: conn, ours: tenantOf(t, h, h.customer, "mine"), theirs: tenantOf(t, h, rival, "ival")}
	w.ours.ids["cluster_id"], w.theirs.ids["cluster_id"] = h.cluster, theirCluster
	w.theirs.secrets["Rival Inc."], w.theirs.secrets["rival-prod"] = true, true
	if len(w.theirs.secrets) < 20 {
		t.Fatalf("the other customer has only %v", slices.Sorted(maps.Keys(w.theirs.secrets)))
	}
	before := h.fingerprint(t, rival)
	for _, m := range served() {
		t.Run(string(m.Parent().Name())+"/"+string(m.Name()), func(t *testing.T) { w.walkRPC(t, h, m) })
	}
	for table, sum := range h.fingerprint(t, rival) {
		if before[table] != sum {
			t.Errorf("another customer's %s were changed", table)
		}
	}
}

// walkRPC calls one RPC as every kind of caller of ours.
func (w walk) walkRPC(t *testing.T, h *house, m protoreflect.MethodDescriptor) {
	t.Helper()
	policy, _ := proto.GetExtension(m.Options(), accessv1.E_Policy).(*accessv1.Policy)
	variants := w.variants(t, m.Input())
	callers := map[string]string{"agent": h.agent, "session": h.browser().signIn(t, h.admin).cookies["cloudoptim"]}
	for _, scope := range []string{"viewer", "operator", "admin"} {
		_, callers[scope] = h.newKey(t, scope)
	}
	naming := slices.ContainsFunc(variants, func(v variant) bool { return len(v.names) > 0 })
	for who, secret := range callers {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
		if m.Name() == "EndSession" && who == "session" {
			continue // which ends what it is called with; nothing can be named
		}
		refused := w.check(t, who, ctx, m, variants)
		allowed := slices.Contains(policy.GetCallers(), kindOf[who])
		if naming && !refused {
			t.Errorf("%s by %s (allowed: %v): no variant came as far as to be refused for whose it is", m.FullName(), who, allowed)
		}
	}
	if _, err := auth.Customer(t.Context()); err == nil {
		t.Error("a context without a caller has a customer")
	}
}

var kindOf = map[string]accessv1.Caller{
	"agent": accessv1.Caller_CALLER_AGENT, "viewer": accessv1.Caller_CALLER_VIEWER, "operator": accessv1.Caller_CALLER_OPERATOR,
	"admin": accessv1.Caller_CALLER_ADMIN, "session": accessv1.Caller_CALLER_ADMIN,
}
