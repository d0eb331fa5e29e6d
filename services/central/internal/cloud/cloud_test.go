package cloud

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/cloudoptim/cloudoptim/services/central/internal/cloud/ec2test"
)

func TestMain(m *testing.M) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(key, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var (
	account = Account{Region: "eu-west-1", ClusterName: "acme"}
	request = Request{
		ClientToken: "co-1", LaunchTemplateID: "lt-1", SubnetID: "subnet-a", InstanceType: "c5.large", Count: 3, Spot: true,
		Tags: map[string]string{"cloudoptim:cluster-id": "c"},
	}
)

func newCloud(t *testing.T) (*Cloud, *ec2test.Server) {
	t.Helper()
	t.Parallel()
	server := ec2test.New(t)
	c, err := New(t.Context(), "us-east-1", server.URL)
	must(t, err)
	return c, server
}

func TestALaunchHappensOnceHoweverOftenItIsAskedFor(t *testing.T) {
	c, server := newCloud(t)
	first, err := c.Launch(t.Context(), account, request)
	must(t, err)
	second, err := c.Launch(t.Context(), account, request)
	must(t, err)
	if diff := cmp.Diff(first, second); diff != "" || len(first) != 3 {
		t.Fatalf("%v %s", first, diff)
	}
	got := server.Instances()
	if len(got) != 3 {
		t.Fatalf("%d instances", len(got))
	}
	want := ec2test.Instance{
		ID: first[0], Type: "c5.large", Subnet: "subnet-a", State: "running", Spot: true, Tags: map[string]string{
			"kubernetes.io/cluster/acme": "owned", "Name": "acme-cloudoptim", launchTag: "co-1", "cloudoptim:cluster-id": "c",
		},
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Fatal(diff)
	}
	call := server.Calls("RunInstances")[0]
	for key, want := range map[string]string{
		"MinCount": "3", "MaxCount": "3", "LaunchTemplate.LaunchTemplateId": "lt-1",
		"InstanceMarketOptions.SpotOptions.SpotInstanceType": "one-time", "InstanceMarketOptions.SpotOptions.MaxPrice": "",
	} {
		if call.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, call.Get(key), want)
		}
	}
	if sign := call.Get("Authorization"); !strings.Contains(sign, "Credential=OWN/") || !strings.Contains(sign, "/eu-west-1/ec2/") {
		t.Errorf("signed as %s", sign)
	}
}

func TestALaunchWhoseAnswerWasLostIsFoundByItsTag(t *testing.T) {
	c, server := newCloud(t)
	server.Silent(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Launch(ctx, account, request); err == nil {
		t.Fatal("a launch without an answer succeeded")
	}
	server.Silent(false)
	server.ForgetTokens()
	found, err := c.Launched(t.Context(), account, request.ClientToken)
	must(t, err)
	ids, err := c.Launch(t.Context(), account, request)
	must(t, err)
	if diff := cmp.Diff(found, ids); diff != "" || len(ids) != 3 || len(server.Instances()) != 3 {
		t.Fatalf("%v, %d instances %s", ids, len(server.Instances()), diff)
	}
	for _, id := range ids {
		server.SetState(id, "terminated")
	}
	if found, err := c.Launched(t.Context(), account, request.ClientToken); err != nil || len(found) > 0 {
		t.Fatalf("found what is gone: %v %v", found, err)
	}
}

func TestNoCapacityIsToldFromOtherTrouble(t *testing.T) {
	c, server := newCloud(t)
	for code, capacity := range map[string]bool{
		"InsufficientInstanceCapacity": true, "MaxSpotInstanceCountExceeded": true, "VcpuLimitExceeded": true, "Unsupported": true,
		"UnauthorizedOperation": false, "InvalidSubnetID.NotFound": false,
	} {
		server.Refuse("RunInstances", code)
		_, err := c.Launch(t.Context(), account, request)
		var lack *CapacityError
		if errors.As(err, &lack) != capacity {
			t.Errorf("%s: %v", code, err)
		}
		if capacity && lack.Code != code {
			t.Errorf("%s is called %s", code, lack.Code)
		}
	}
}

func TestOneUnknownInstanceDoesNotKeepTheOthersAlive(t *testing.T) {
	c, server := newCloud(t)
	var ids []string
	for i := range 1201 {
		id := fmt.Sprintf("i-%04d", i)
		ids = append(ids, id)
		if i != 3 && i != 700 && i != 1200 {
			server.Add(id)
		}
	}
	must(t, c.Terminate(t.Context(), account, ids))
	for _, one := range server.Instances() {
		if one.State != "terminated" {
			t.Fatalf("%s is %s", one.ID, one.State)
		}
	}
	must(t, c.Terminate(t.Context(), account, ids)) // again: harmless
	calls := len(server.Calls("TerminateInstances"))
	must(t, c.Terminate(t.Context(), account, nil))
	if len(server.Calls("TerminateInstances")) != calls {
		t.Error("nothing to terminate, and EC2 was called")
	}
	server.Refuse("TerminateInstances", "UnauthorizedOperation")
	if err := c.Terminate(t.Context(), account, ids[:1]); err == nil {
		t.Error("a refusal was taken for success")
	}
}

func TestAnInstanceThatEC2DoesNotKnowIsTerminated(t *testing.T) {
	c, server := newCloud(t)
	server.Add("i-a")
	server.Add("i-b")
	server.SetState("i-b", "shutting-down")
	got, err := c.States(t.Context(), account, []string{"i-a", "i-b", "i-unknown"})
	must(t, err)
	want := map[string]string{"i-a": "running", "i-b": "shutting-down", "i-unknown": "terminated"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	server.Refuse("DescribeInstances", "UnauthorizedOperation")
	if states, err := c.States(t.Context(), account, []string{"i-a"}); err == nil {
		t.Fatalf("EC2 refused, and the states are %v", states)
	}
}

func TestTheCustomersRoleIsAssumedWithItsExternalID(t *testing.T) {
	c, server := newCloud(t)
	theirs := Account{Region: "eu-west-1", ClusterName: "acme", RoleARN: "arn:aws:iam::1:role/acme", ExternalID: "ext-1"}
	for range 3 {
		_, err := c.Launch(t.Context(), theirs, request)
		must(t, err)
	}
	assumed := server.Calls("AssumeRole")
	if len(assumed) != 1 || assumed[0].Get("RoleArn") != theirs.RoleARN || assumed[0].Get("ExternalId") != "ext-1" {
		t.Fatalf("assumed %v", assumed)
	}
	if sign := server.Calls("RunInstances")[0].Get("Authorization"); !strings.Contains(sign, "Credential=ASSUMED/") {
		t.Errorf("signed as %s", sign)
	}
	other := theirs
	other.RoleARN, other.ExternalID = "arn:aws:iam::2:role/rival", "ext-2"
	_, err := c.Launch(t.Context(), other, request)
	must(t, err)
	if n := len(server.Calls("AssumeRole")); n != 2 {
		t.Errorf("%d roles assumed for two customers", n)
	}
}

func TestF9OnlyTheUnknownIDIsLeftOutOfTheNextTry(t *testing.T) {
	c, server := newCloud(t)
	var ids []string
	for i := range 100 {
		id := fmt.Sprintf("i-%04d", i)
		ids = append(ids, id)
		if i != 17 && i != 63 {
			server.Add(id)
		}
	}
	got, err := c.Statuses(t.Context(), account, ids)
	must(t, err)
	unknown := 0
	for _, one := range got {
		if one.Unknown {
			unknown++
		}
	}
	// The whole, and without those that EC2 names.
	if calls := len(server.Calls("DescribeInstanceStatus")); len(got) != 100 || unknown != 2 || calls != 2 {
		t.Errorf("%d statuses, %d unknown, %d calls", len(got), unknown, calls)
	}
	must(t, c.Terminate(t.Context(), account, ids))
	if calls := len(server.Calls("TerminateInstances")); calls != 2 {
		t.Errorf("%d calls to terminate", calls)
	}
	if !Throttled(fmt.Errorf("asking: %w", &smithy.GenericAPIError{Code: "RequestLimitExceeded"})) || Throttled(errors.New("no")) {
		t.Error("throttling is not told from other trouble")
	}
}

func TestAnInstanceOfAGroupIsEndedThroughTheGroup(t *testing.T) {
	c, server := newCloud(t)
	grouped := map[string]string{"aws:autoscaling:groupName": "workers"}
	server.Put(ec2test.Instance{ID: "i-group", State: "running", Tags: grouped})
	server.Put(ec2test.Instance{ID: "i-kept", State: "running", Tags: grouped})
	server.Put(ec2test.Instance{ID: "i-left", State: "running", Tags: map[string]string{"aws:autoscaling:groupName": "workers", "left": "yes"}})
	server.Put(ec2test.Instance{ID: "i-least", State: "running", Tags: map[string]string{"aws:autoscaling:groupName": "workers", "least": "yes"}})
	server.Add("i-alone")
	must(t, c.Terminate(t.Context(), account, []string{"i-group", "i-left", "i-least", "i-alone"}))
	must(t, c.Retire(t.Context(), account, []string{"i-kept"}))
	for _, one := range server.Instances() {
		if one.State != "terminated" {
			t.Errorf("%s is %s", one.ID, one.State)
		}
	}
	smaller := map[string]string{}
	for _, call := range server.Calls("TerminateInstanceInAutoScalingGroup") {
		smaller[call.Get("InstanceId")] = call.Get("ShouldDecrementDesiredCapacity")
	}
	if diff := cmp.Diff(map[string]string{"i-group": "true", "i-left": "true", "i-kept": "false", "i-least": "false"}, smaller); diff != "" {
		t.Error(diff)
	}
	must(t, c.Terminate(t.Context(), account, []string{"i-group"})) // again: harmless
}

func TestF9ManyUnknownIDsCostAFewCallsHoweverEC2NamesThem(t *testing.T) {
	for name, one := range map[string]bool{"all at once": false, "one at a time": true} {
		t.Run(name, func(t *testing.T) {
			c, server := newCloud(t)
			server.NamesOne = one
			ids := []string{"i-there"}
			server.Add("i-there")
			for i := range 60 {
				ids = append(ids, fmt.Sprintf("i-not%02d", i))
			}
			known, err := c.Describe(t.Context(), account, ids)
			must(t, err)
			if calls := len(server.Calls("DescribeInstances")); len(known) != 1 || known["i-there"].State != "running" || calls > 4 {
				t.Errorf("%d calls, found %v", calls, known)
			}
		})
	}
}

func TestMarkedSpotInstancesAndScheduledEventsAreFound(t *testing.T) {
	c, server := newCloud(t)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	server.Put(ec2test.Instance{ID: "i-marked", State: "running", Spot: true, Mark: "marked-for-stop"})
	server.Put(ec2test.Instance{ID: "i-well", State: "running", Spot: true})
	server.Put(ec2test.Instance{ID: "i-retired", State: "running", Event: "instance-retirement", EventAt: at})
	marks, err := c.Marks(t.Context(), account)
	must(t, err)
	if len(marks) != 1 || marks[0].InstanceID != "i-marked" || marks[0].Action != "stop" || marks[0].At.IsZero() {
		t.Errorf("marks: %+v", marks)
	}
	got, err := c.Statuses(t.Context(), account, []string{"i-retired"})
	must(t, err)
	want := []Status{{InstanceID: "i-retired", State: "running", Events: []Scheduled{{ID: "e-i-retired", Code: "instance-retirement", NotBefore: at}}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAHookIsKeptWaitingAndLetGo(t *testing.T) {
	c, server := newCloud(t)
	hook := Hook{Group: "workers", Name: "drain", Token: "87654321-0000-0000-0000-000000000000", InstanceID: "i-a"}
	waits, err := c.KeepWaiting(t.Context(), account, hook)
	must(t, err)
	must(t, c.Continue(t.Context(), account, hook))
	call := server.Calls("CompleteLifecycleAction")[0]
	if !waits || call.Get("LifecycleActionResult") != "CONTINUE" || call.Get("LifecycleActionToken") != hook.Token || call.Get("InstanceId") != "i-a" {
		t.Errorf("waits %v, called with %v", waits, call)
	}
	server.Refuse("RecordLifecycleActionHeartbeat", "ValidationError")
	server.Refuse("CompleteLifecycleAction", "ValidationError")
	if waits, err := c.KeepWaiting(t.Context(), account, hook); waits || err != nil {
		t.Errorf("one that is over: %v %v", waits, err)
	}
	must(t, c.Continue(t.Context(), account, hook))
	server.Refuse("CompleteLifecycleAction", "AccessDenied")
	if err := c.Continue(t.Context(), account, hook); err == nil {
		t.Error("a refusal was taken for success")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
