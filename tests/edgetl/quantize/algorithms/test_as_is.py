from edgetl.quantize.algorithms import as_is


def test_quantize_returns_the_model_byte_for_byte(conv_net):
    assert as_is.quantize(conv_net, None, parameters=as_is.Parameters(), exclude=()) == conv_net
