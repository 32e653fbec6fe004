#include "onnx_file.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <sstream>

#include "../error.h"
#include "../plain/shown.h"
#include "protobuf.h"

namespace clap::inner {

namespace {

using protobuf::Found;
using protobuf::Malformed;
using Tensor = OnnxGraph::Tensor;

constexpr std::size_t most_nodes = 20000, most_tensors = 20000, most_rank = 8, most_typed = 1 << 20,
                      most_metadata = 64 << 20;
constexpr std::int64_t most_elements = std::int64_t{1} << 31;
constexpr int kind_float = 1, kind_int64 = 7;

const std::set<std::string>& operations() {
    static const std::set<std::string> found = [] {
        std::istringstream names(
            "Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat "
            "Constant Conv ConvTranspose Cos CumSum DequantizeLinear Div "
            "DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather "
            "GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater "
            "GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity "
            "InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log "
            "LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mod Mul Neg Not Or PRelu "
            "Pad Pow QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal ReduceL2 "
            "ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Round "
            "Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Split Sqrt Squeeze Sub "
            "Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where ");
        return std::set<std::string>(std::istream_iterator<std::string>(names), {});
    }();
    return found;
}

// Bytes of an element, by its number in ONNX's TensorProto.DataType; 0 for a type that is not read.
std::int64_t size_of(std::int64_t kind) {
    switch (kind) {
        case 2:
        case 3:
        case 9: return 1;
        case 4:
        case 5:
        case 10:
        case 16: return 2;
        case 1:
        case 6:
        case 12: return 4;
        case 7:
        case 11:
        case 13: return 8;
        default: return 0;
    }
}

// Fields of each message; a field that is not known is refused, because an engine may know it.
// clang-format off
constexpr auto V = protobuf::varint, B = protobuf::bytes, F32 = protobuf::fixed32, F64 = protobuf::fixed64;
const protobuf::Fields model_fields{
    {1, V}, {2, B}, {3, B}, {4, B}, {5, V}, {6, B}, {7, B}, {8, B}, {14, B},
    {20, "training"}, {25, "functions"}, {26, "a configuration of devices"}};
const protobuf::Fields opset_fields{{1, B}, {2, V}};
const protobuf::Fields entry_fields{{1, B}, {2, B}};
const protobuf::Fields graph_fields{
    {1, B}, {2, B}, {5, B}, {10, B}, {11, B}, {12, B}, {13, B}, {14, B}, {15, "sparse constants"}, {16, B}};
const protobuf::Fields node_fields{
    {1, B}, {2, B}, {3, B}, {4, B}, {5, B}, {6, B}, {7, B},
    {8, "an overloaded function"}, {9, B}, {10, "a configuration of devices"}};
const protobuf::Fields attribute_fields{
    {1, B}, {2, F32}, {3, V}, {4, B}, {5, B}, {6, "a graph inside an operation"}, {7, F32, B}, {8, V, B},
    {9, B}, {10, B}, {11, "graphs inside an operation"}, {13, B}, {14, "a type as an attribute"},
    {15, "types as an attribute"}, {20, V}, {21, "a function's attribute"}, {22, "a sparse constant"},
    {23, "sparse constants"}};
const protobuf::Fields tensor_fields{
    {1, V, B}, {2, V}, {3, "a constant in segments"}, {4, F32, B}, {5, V, B}, {6, "a constant of texts"},
    {7, V, B}, {8, B}, {9, B}, {10, F64, B}, {11, V, B}, {12, B}, {13, "a constant outside the file"},
    {14, V}, {16, B}};
const protobuf::Fields value_fields{{1, B}, {2, B}, {3, B}, {4, B}};
const protobuf::Fields type_fields{
    {1, B}, {4, "a sequence as input"}, {5, "a map as input"}, {6, B}, {7, "an opaque type"},
    {8, "a sparse input"}, {9, "an optional input"}};
const protobuf::Fields tensor_type_fields{{1, V}, {2, B}};
const protobuf::Fields shape_fields{{1, B}};
const protobuf::Fields axis_fields{{1, V}, {2, B}, {3, B}};
// clang-format on

std::int64_t product(const std::vector<std::int64_t>& shape) {
    double total = 1;
    bool empty = false;
    for (std::int64_t n : shape) {
        total *= static_cast<double>(std::max<std::int64_t>(n, 1));
        empty = empty || n == 0;
        if (total > static_cast<double>(most_elements))
            throw Malformed{"a tensor of " + general(total, 20) + " elements is asked for"};
    }
    return empty ? 0 : static_cast<std::int64_t>(total);
}

std::pair<std::string, Tensor> read_tensor(std::string_view data) {
    Tensor found;
    std::string name;
    std::int64_t kind = 0;
    std::size_t typed = 0;
    std::string_view values;
    const auto form = [&name] {
        return Malformed{"constant '" + name + "' has numbers in a form that is not read"};
    };
    protobuf::each(data, tensor_fields, "constant", [&](const Found& field) {
        switch (field.number) {
            case 1:
                if (field.is_number)
                    found.dims.push_back(field.whole);
                else
                    for (std::int64_t n : protobuf::varints(field.data, most_rank))
                        found.dims.push_back(n);
                break;
            case 2: kind = field.whole; break;
            case 8: name = protobuf::text(field.data); break;
            case 9:
                found.raw = field.data;
                found.has_raw = true;
                break;
            case 4:
            case 10: {
                const std::size_t size = field.number == 4 ? 4 : 8;
                if (field.is_number || field.data.size() % size) throw form();
                typed += field.data.size() / size;
                break;
            }
            case 5:
            case 7:
            case 11:
                if (field.is_number || field.data.size() > most_typed) throw form();
                typed += protobuf::count(field.data);
                if (field.number == 7) values = field.data;
                break;
            case 14:
                if (field.whole) throw Malformed{"constant '" + name + "' lies outside the file"};
                break;
            default: break;
        }
    });
    if (!size_of(kind))
        throw Malformed{"constant '" + name + "' is of a type (" + std::to_string(kind) +
                        ") that no graph of ours has"};
    std::string shape;
    bool negative = false;
    for (std::int64_t n : found.dims) {
        shape += (shape.empty() ? "" : ", ") + std::to_string(n);
        negative = negative || n < 0;
    }
    if (found.dims.size() > most_rank || negative)
        throw Malformed{"constant '" + name + "' has the shape [" + shape + "]"};
    const std::int64_t count = product(found.dims);
    const double holds =
        found.has_raw ? static_cast<double>(found.raw.size()) / static_cast<double>(size_of(kind))
                      : static_cast<double>(typed);
    if (holds != static_cast<double>(count) || (found.has_raw && typed))
        throw Malformed{"constant '" + name + "' of shape [" + shape + "] holds " + general(holds) +
                        " numbers"};
    if (kind == kind_int64 && count <= 2 * static_cast<std::int64_t>(most_rank)) {
        if (found.has_raw) {
            found.values.resize(static_cast<std::size_t>(count));
            if (count) std::memcpy(found.values.data(), found.raw.data(), found.raw.size());
        }
        if (!values.empty())
            found.values = protobuf::varints(values, static_cast<std::size_t>(count));
    }
    found.is_float = kind == kind_float;
    return {name, found};
}

OnnxGraph::Shape read_shape(std::string_view data) {
    OnnxGraph::Shape axes;
    protobuf::each(data, tensor_type_fields, "type", [&](const Found& part) {
        if (part.number != 2) return;
        protobuf::each(part.data, shape_fields, "shape", [&](const Found& axis) {
            std::optional<std::int64_t> length;
            protobuf::each(axis.data, axis_fields, "axis", [&](const Found& f) {
                if (f.number == 1) length = f.whole;
            });
            axes.push_back(length);
        });
    });
    return axes;
}

std::pair<std::string, OnnxGraph::Shape> read_value_info(std::string_view data) {
    std::string name;
    OnnxGraph::Shape shape;
    protobuf::each(data, value_fields, "input", [&](const Found& field) {
        if (field.number == 1) name = protobuf::text(field.data);
        if (field.number == 2)
            protobuf::each(field.data, type_fields, "type", [&](const Found& type) {
                if (type.number == 1) shape = read_shape(type.data);
            });
    });
    return {name, shape};
}

std::pair<OnnxGraph::Node, std::optional<Tensor>> read_node(std::string_view data) {
    OnnxGraph::Node node;
    std::optional<Tensor> constant;
    protobuf::each(data, node_fields, "operation", [&](const Found& field) {
        if (field.number == 1) node.inputs.push_back(protobuf::text(field.data));
        if (field.number == 2) node.outputs.push_back(protobuf::text(field.data));
        if (field.number == 4) {
            node.operation = protobuf::text(field.data);
            if (!operations().count(node.operation))
                throw Malformed{"it holds the operation '" + node.operation +
                                "', which is not on the list"};
        }
        if (field.number == 5)
            protobuf::each(field.data, attribute_fields, "attribute", [&](const Found& part) {
                if (part.number == 5 || part.number == 10) constant = read_tensor(part.data).second;
            });
        if (field.number == 7) {
            const std::string domain = protobuf::text(field.data);
            if (!domain.empty() && domain != "ai.onnx")
                throw Malformed{"it uses an operation of '" + domain +
                                "', which is not one of ONNX's own"};
        }
    });
    if (node.operation.empty()) throw Malformed{"an operation has no name"};
    if (node.operation != "Constant") constant.reset();
    return {node, constant};
}

// Refuses constants that ask for a tensor beyond all measure.
void check_size(const OnnxGraph& graph, const OnnxGraph::Node& node) {
    const auto constant = [&](std::size_t i) -> const Tensor* {
        if (i >= node.inputs.size()) return nullptr;
        const auto found = graph.tensors.find(node.inputs[i]);
        return found == graph.tensors.end() ? nullptr : &found->second;
    };
    const auto size = [](std::int64_t n) { return n == INT64_MIN ? INT64_MAX : n < 0 ? -n : n; };
    const std::string& operation = node.operation;
    const Tensor* asked = constant(1);
    if (asked && (operation == "Expand" || operation == "Tile" || operation == "Reshape")) {
        std::vector<std::int64_t> shape;
        for (std::int64_t n : asked->values) shape.push_back(size(n));
        product(shape);
    }
    if (operation == "Pad" && asked)
        for (std::int64_t n : asked->values) product({size(n)});
    if (operation == "Range")
        for (std::size_t i = 0; i < node.inputs.size(); ++i)
            if (const Tensor* tensor = constant(i))
                for (std::int64_t n : tensor->values)
                    if (size(n) > most_elements)
                        throw Malformed{"a range in it is longer than any tensor"};
}

OnnxGraph read_graph(std::string_view data) {
    OnnxGraph graph;
    std::set<std::string> made;
    const auto limited = [&] {
        if (graph.tensors.size() > most_tensors)
            throw Malformed{"it has more than " + std::to_string(most_tensors) + " constants"};
    };
    protobuf::each(data, graph_fields, "graph", [&](const Found& field) {
        if (field.number == 1) {
            auto [node, constant] = read_node(field.data);
            made.insert(node.outputs.begin(), node.outputs.end());
            if (constant && !node.outputs.empty()) graph.tensors[node.outputs[0]] = *constant;
            graph.nodes.push_back(std::move(node));
            if (graph.nodes.size() > most_nodes)
                throw Malformed{"it has more than " + std::to_string(most_nodes) + " operations"};
            limited();
        } else if (field.number == 5) {
            auto [name, tensor] = read_tensor(field.data);
            graph.tensors[name] = tensor;
            limited();
        } else if (field.number == 11 || field.number == 12) {
            auto [name, shape] = read_value_info(field.data);
            (field.number == 11 ? graph.inputs : graph.outputs)[name] = shape;
        }
    });
    for (const auto& [name, shape] : graph.outputs)
        if (!made.count(name)) throw Malformed{"nothing in it makes its output '" + name + "'"};
    for (const OnnxGraph::Node& node : graph.nodes) check_size(graph, node);
    return graph;
}

OnnxGraph read_model(std::string_view data) {
    const std::string_view mark = data.size() > 4 ? data.substr(4, 4) : "";
    if (mark == "ORTM" || mark == "TFL3" || data.substr(0, 1) != "\x08")
        throw Malformed{"it is no ONNX model"};
    std::optional<OnnxGraph> found;
    std::set<std::string> domains;
    std::map<std::string, std::string> metadata;
    protobuf::each(data, model_fields, "model", [&](const Found& field) {
        if (field.number == 7) {
            if (found) throw Malformed{"it holds two graphs"};  // protobuf would merge them
            found = read_graph(field.data);
        } else if (field.number == 8) {
            protobuf::each(field.data, opset_fields, "opset", [&](const Found& part) {
                if (part.number == 1) domains.insert(protobuf::text(part.data));
            });
        } else if (field.number == 14) {
            std::string_view name, value;
            protobuf::each(field.data, entry_fields, "metadata", [&](const Found& part) {
                (part.number == 1 ? name : value) = part.data;
            });
            const std::string key = protobuf::text(name);
            if (metadata.count(key)) throw Malformed{"its metadata has two texts '" + key + "'"};
            metadata[key] = protobuf::text(value, most_metadata);
        }
    });
    if (!found) throw Malformed{"it holds no graph"};
    for (const std::string& domain : domains)
        if (!domain.empty() && domain != "ai.onnx")
            throw Malformed{"it uses operations of '" + domain + "', which are not ONNX's own"};
    found->metadata = std::move(metadata);
    return *found;
}

}  // namespace

OnnxGraph OnnxGraph::check(std::string_view data, const std::string& name) {
    try {
        return read_model(data);
    } catch (const Malformed& problem) {
        throw Error(
            Code::bundle,
            "'" + name + "' is not used: " + printable(problem.said) +
                ". A bundle's graph is one file of plain operations with its weights inside. "
                "Export the bundle again.");
    }
}

std::optional<std::int64_t> OnnxGraph::rows(const std::string& indices) const {
    static const std::set<std::string> same_numbers{"Cast",    "Identity",  "Reshape",
                                                    "Squeeze", "Unsqueeze", "Flatten"};
    std::set<std::string> same{indices};
    std::map<std::string, std::string> dequantized;
    for (const Node& node : nodes) {
        if (node.inputs.empty()) continue;
        if (same_numbers.count(node.operation) && same.count(node.inputs[0]))
            same.insert(node.outputs.begin(), node.outputs.end());
        if (node.operation == "DequantizeLinear" && tensors.count(node.inputs[0]) &&
            !node.outputs.empty())
            dequantized.emplace(node.outputs[0], node.inputs[0]);
        if (node.operation == "Gather" && node.inputs.size() == 2 && same.count(node.inputs[1])) {
            const auto from = dequantized.find(node.inputs[0]);
            const auto table =
                tensors.find(from == dequantized.end() ? node.inputs[0] : from->second);
            if (table == tensors.end() || table->second.dims.empty()) return std::nullopt;
            return table->second.dims[0];
        }
    }
    return std::nullopt;
}

}  // namespace clap::inner
