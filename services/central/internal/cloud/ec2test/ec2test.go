// Package ec2test is an EC2, Auto Scaling and STS endpoint for tests: instances live in memory, and tests say what goes wrong.
package ec2test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Instance is one that was launched.
type Instance struct {
	ID, Type, Subnet, State string
	Spot                    bool
	Tags                    map[string]string
	Zone                    string
	LaunchedAt              time.Time
	// Event is a scheduled event's code, and when it is not before.
	Event   string
	EventAt time.Time
	// Mark is the status of its spot request, e.g. marked-for-termination.
	Mark string
}

// Server speaks the query protocols of EC2, Auto Scaling and STS.
type Server struct {
	URL string
	// NamesOne has refusals name one unknown instance only. Set it before the first call.
	NamesOne bool

	mu        sync.Mutex
	instances []*Instance
	tokens    map[string][]*Instance
	calls     []url.Values
	refuse    map[string]string
	silent    bool
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tokens: map[string][]*Instance{}, refuse: map[string]string{}}
	web := httptest.NewServer(s)
	s.URL = web.URL
	tb.Cleanup(web.Close)
	return s
}

// Refuse answers calls of action with an error code; "" ends that. The action
// RunInstances may be followed by /spot or /on-demand.
func (s *Server) Refuse(action, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[action] = code
}

// Silent makes RunInstances launch without ever answering.
func (s *Server) Silent(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// ForgetTokens does what EC2 does after a while.
func (s *Server) ForgetTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Instances are copies of all that were launched.
func (s *Server) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Instance
	for _, one := range s.instances {
		out = append(out, *one)
	}
	return out
}

// SetState puts an instance into a state, e.g. terminated.
func (s *Server) SetState(id, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.instances {
		if one.ID == id {
			one.State = state
		}
	}
}

// Add makes an m5.large that runs already, bought on demand.
func (s *Server) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = append(s.instances, &Instance{ID: id, Type: "m5.large", State: "running"})
}

// Put adds an instance, or changes the one that has its id.
func (s *Server) Put(one Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.instances {
		if known.ID == one.ID {
			*known = one
			return
		}
	}
	s.instances = append(s.instances, &one)
}

// Forget makes an instance unknown, as EC2 does an hour after its end.
func (s *Server) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = slices.DeleteFunc(s.instances, func(one *Instance) bool { return one.ID == id })
}

// Calls are the parameters of all calls of an action.
func (s *Server) Calls(action string) []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []url.Values
	for _, call := range s.calls {
		if call.Get("Action") == action {
			out = append(out, call)
		}
	}
	return out
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form := r.Form
	form.Set("Authorization", r.Header.Get("Authorization"))
	body, code := s.answer(form)
	if body == "" && code == "" { // silence
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		body = refusal(form.Get("Version"), code, form.Get("refused"))
	}
	_, _ = w.Write([]byte(body)) //nolint:gosec // a test reads it
}

// refusal is an error as EC2 writes it, and as Auto Scaling does.
func refusal(version, code, why string) string {
	if why == "" {
		why = "refused"
	}
	fault := "<Error><Code>" + code + "</Code><Message>" + why + "</Message></Error>"
	if version == "2011-01-01" {
		return "<ErrorResponse>" + fault + "<RequestId>r</RequestId></ErrorResponse>"
	}
	return "<Response><Errors>" + fault + "</Errors><RequestID>r</RequestID></Response>"
}

func (s *Server) answer(form url.Values) (body, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, form)
	action := form.Get("Action")
	if code := s.refuse[action]; code != "" {
		return "", code
	}
	switch action {
	case "AssumeRole":
		return fmt.Sprintf(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
			<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
			<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), ""
	case "RunInstances":
		return s.run(form)
	case "DescribeInstances":
		return s.describe(form)
	case "TerminateInstances":
		return s.terminate(form)
	case "DescribeInstanceStatus":
		return s.statuses(form)
	case "DescribeSpotInstanceRequests":
		return s.requests(), ""
	case "TerminateInstanceInAutoScalingGroup":
		return s.leaveGroup(form)
	case "CompleteLifecycleAction", "RecordLifecycleActionHeartbeat":
		return fmt.Sprintf(`<%[1]sResponse><%[1]sResult/></%[1]sResponse>`, action), ""
	}
	return "", "InvalidAction"
}

func (s *Server) run(form url.Values) (body, code string) {
	market := form.Get("InstanceMarketOptions.MarketType")
	if market == "" {
		market = "on-demand"
	}
	if code := s.refuse["RunInstances/"+market]; code != "" {
		return "", code
	}
	made := s.tokens[form.Get("ClientToken")]
	if made == nil {
		var count int
		if _, err := fmt.Sscan(form.Get("MinCount"), &count); err != nil {
			return "", "InvalidParameterValue"
		}
		for range count {
			made = append(made, &Instance{
				ID: fmt.Sprintf("i-%04d", len(s.instances)+len(made)), Type: form.Get("InstanceType"), Subnet: form.Get("SubnetId"),
				State: "running", Spot: market == "spot", Tags: tags(form),
			})
		}
		s.instances = append(s.instances, made...)
		s.tokens[form.Get("ClientToken")] = made
	}
	if s.silent {
		return "", ""
	}
	return "<RunInstancesResponse><reservationId>r</reservationId><instancesSet>" + items(made) + "</instancesSet></RunInstancesResponse>", ""
}

func tags(form url.Values) map[string]string {
	out := map[string]string{}
	for i := 1; ; i++ {
		key := form.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Key", i))
		if key == "" {
			return out
		}
		out[key] = form.Get(fmt.Sprintf("TagSpecification.1.Tag.%d.Value", i))
	}
}

func (s *Server) describe(form url.Values) (body, code string) {
	found := slices.Clone(s.instances)
	if form.Get("InstanceId.1") != "" {
		if found, code = s.named(form); code != "" {
			return "", code
		}
	}
	for i := 1; form.Get(fmt.Sprintf("Filter.%d.Name", i)) != ""; i++ {
		name, values := form.Get(fmt.Sprintf("Filter.%d.Name", i)), list(form, fmt.Sprintf("Filter.%d.Value.", i))
		found = slices.DeleteFunc(found, func(one *Instance) bool { return !slices.Contains(values, field(one, name)) })
	}
	return "<DescribeInstancesResponse><reservationSet><item><instancesSet>" + items(found) + "</instancesSet></item></reservationSet></DescribeInstancesResponse>", ""
}

func field(one *Instance, name string) string {
	switch name {
	case "instance-id":
		return one.ID
	case "instance-state-name":
		return one.State
	default:
		return one.Tags[strings.TrimPrefix(name, "tag:")]
	}
}

// terminate refuses the whole call for one unknown id, as EC2 does.
func (s *Server) terminate(form url.Values) (body, code string) {
	found, code := s.named(form)
	for _, one := range found {
		one.State = "terminated"
	}
	return "<TerminateInstancesResponse><instancesSet>" + items(found) + "</instancesSet></TerminateInstancesResponse>", code
}

// named are the instances of a call; for those that are unknown the call is refused
// as a whole, with their names.
func (s *Server) named(form url.Values) (found []*Instance, code string) {
	var unknown []string
	for _, id := range list(form, "InstanceId.") {
		at := slices.IndexFunc(s.instances, func(one *Instance) bool { return one.ID == id })
		if at < 0 {
			unknown = append(unknown, id)
			continue
		}
		found = append(found, s.instances[at])
	}
	if s.NamesOne {
		unknown = unknown[:min(1, len(unknown))]
	}
	if len(unknown) > 0 {
		form.Set("refused", "The instance IDs '"+strings.Join(unknown, ", ")+"' do not exist")
		return nil, "InvalidInstanceID.NotFound"
	}
	return found, ""
}

func (s *Server) statuses(form url.Values) (body, code string) {
	found, code := s.named(form)
	var out strings.Builder
	for _, one := range found {
		fmt.Fprintf(&out, "<item><instanceId>%s</instanceId><instanceState><name>%s</name></instanceState>", one.ID, one.State)
		if one.Event != "" {
			fmt.Fprintf(&out, "<eventsSet><item><instanceEventId>e-%s</instanceEventId><code>%s</code><notBefore>%s</notBefore></item></eventsSet>",
				one.ID, one.Event, one.EventAt.UTC().Format(time.RFC3339))
		}
		out.WriteString("</item>")
	}
	return "<DescribeInstanceStatusResponse><instanceStatusSet>" + out.String() + "</instanceStatusSet></DescribeInstanceStatusResponse>", code
}

func (s *Server) requests() string {
	var out strings.Builder
	for _, one := range s.instances {
		if one.Spot && one.State == "running" {
			mark := one.Mark
			if mark == "" {
				mark = "fulfilled"
			}
			fmt.Fprintf(&out, "<item><instanceId>%s</instanceId><state>active</state><status><code>%s</code><updateTime>%s</updateTime></status></item>",
				one.ID, mark, time.Now().UTC().Format(time.RFC3339))
		}
	}
	return "<DescribeSpotInstanceRequestsResponse><spotInstanceRequestSet>" + out.String() + "</spotInstanceRequestSet></DescribeSpotInstanceRequestsResponse>"
}

func (s *Server) leaveGroup(form url.Values) (body, code string) {
	for _, one := range s.instances {
		if one.ID == form.Get("InstanceId") && one.Tags["aws:autoscaling:groupName"] != "" && one.Tags["left"] == "" {
			if one.Tags["least"] != "" && form.Get("ShouldDecrementDesiredCapacity") == "true" {
				form.Set("refused", "Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min size constraint.")
				return "", "ValidationError"
			}
			one.State = "terminated"
			return "<TerminateInstanceInAutoScalingGroupResponse><TerminateInstanceInAutoScalingGroupResult/></TerminateInstanceInAutoScalingGroupResponse>", ""
		}
	}
	form.Set("refused", "Instance Id not found - No managed instance found for instance ID "+form.Get("InstanceId"))
	return "", "ValidationError"
}

func list(form url.Values, prefix string) []string {
	var out []string
	for i := 1; form.Get(fmt.Sprint(prefix, i)) != ""; i++ {
		out = append(out, form.Get(fmt.Sprint(prefix, i)))
	}
	return out
}

func items(instances []*Instance) string {
	var out strings.Builder
	for _, one := range instances {
		fmt.Fprintf(&out, "<item><instanceId>%s</instanceId><instanceState><name>%s</name></instanceState><instanceType>%s</instanceType>",
			one.ID, one.State, one.Type)
		if !one.LaunchedAt.IsZero() {
			fmt.Fprintf(&out, "<launchTime>%s</launchTime>", one.LaunchedAt.UTC().Format(time.RFC3339))
		}
		if one.Zone != "" {
			fmt.Fprintf(&out, "<placement><availabilityZone>%s</availabilityZone></placement>", one.Zone)
		}
		out.WriteString("<tagSet>")
		for _, key := range slices.Sorted(maps.Keys(one.Tags)) {
			fmt.Fprintf(&out, "<item><key>%s</key><value>%s</value></item>", key, one.Tags[key])
		}
		out.WriteString("</tagSet></item>")
	}
	return out.String()
}
