package question

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

func protoName(key string) protoreflect.Name { return protoreflect.Name(key) }

// kindName says in plain words what a field wants.
func kindName(field protoreflect.FieldDescriptor) string {
	word := map[protoreflect.Kind]string{
		protoreflect.DoubleKind: "a number", protoreflect.Int32Kind: "a whole number", protoreflect.Int64Kind: "a whole number",
		protoreflect.BoolKind: "true or false", protoreflect.StringKind: "a string",
	}[field.Kind()]
	if field.Kind() == protoreflect.MessageKind {
		return "a list of objects, as the contract has them"
	}
	if field.IsList() {
		return "a list of strings"
	}
	return word
}

// stringified is a number given as text: protojson takes "0.8" for 0.8, the
// documented JSON does not.
func stringified(field protoreflect.FieldDescriptor, value *structpb.Value) bool {
	_, text := value.GetKind().(*structpb.Value_StringValue)
	return text && field.Kind() != protoreflect.StringKind
}
