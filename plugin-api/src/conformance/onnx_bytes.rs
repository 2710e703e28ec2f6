//! Writes the few kinds of ONNX models that the samples need, straight in the protobuf
//! wire format, so that the kit needs no protobuf library. Field numbers are those of the
//! public `onnx.proto`.

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 127 {
            self.0.push((value & 127) as u8 | 128);
            value >>= 7;
        }
        self.0.push((value & 127) as u8);
    }
    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }
    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }
    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }
    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// A node: operator, inputs and outputs; attributes are lists of integers.
pub(super) struct Node {
    pub(super) op: &'static str,
    pub(super) inputs: &'static [&'static str],
    pub(super) output: &'static str,
    pub(super) ints: &'static [(&'static str, &'static [u64])],
}

/// A float initializer.
pub(super) struct Weights {
    pub(super) name: &'static str,
    pub(super) shape: &'static [u64],
    pub(super) values: &'static [f32],
}

const FLOAT: u64 = 1;
const ATTRIBUTE_INTS: u64 = 7;

/// A model with one float input `x` and one float output `y`.
pub(super) fn model(
    name: &str,
    x: &[u64],
    y: &[u64],
    nodes: &[Node],
    weights: &[Weights],
) -> Vec<u8> {
    let mut graph = Message::default();
    for (i, node) in nodes.iter().enumerate() {
        graph = graph.message(1, &encode_node(i, node));
    }
    graph = graph.text(2, name);
    for w in weights {
        let mut tensor = Message::default();
        for d in w.shape {
            tensor = tensor.number(1, *d);
        }
        let raw: Vec<u8> = w.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = tensor.number(2, FLOAT).text(8, w.name).bytes(9, &raw);
        graph = graph.message(5, &tensor);
    }
    graph = graph
        .message(11, &value_info("x", x))
        .message(12, &value_info("y", y));
    let opset = Message::default().text(1, "").number(2, 13);
    Message::default()
        .number(1, 8) // IR version
        .text(2, "dsperse conformance")
        .message(7, &graph)
        .message(8, &opset)
        .0
}

fn encode_node(index: usize, node: &Node) -> Message {
    let mut message = Message::default();
    for input in node.inputs {
        message = message.text(1, input);
    }
    message = message
        .text(2, node.output)
        .text(3, &format!("node_{index}"))
        .text(4, node.op);
    for (name, values) in node.ints {
        let mut attribute = Message::default().text(1, name);
        for v in *values {
            attribute = attribute.number(8, *v);
        }
        message = message.message(5, &attribute.number(20, ATTRIBUTE_INTS));
    }
    message
}

fn value_info(name: &str, shape: &[u64]) -> Message {
    let mut dims = Message::default();
    for d in shape {
        dims = dims.message(1, &Message::default().number(1, *d));
    }
    let tensor = Message::default().number(1, FLOAT).message(2, &dims);
    let kind = Message::default().message(1, &tensor);
    Message::default().text(1, name).message(2, &kind)
}
