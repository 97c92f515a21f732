"""Images in, batches out: readers of data sets, synthesis of anomalies, the input pipeline.

Nothing here knows of models, configurations or metrics. TensorFlow is imported by ``pipeline``,
``synthesis`` and ``perlin`` only; reading and decoding images needs Pillow and NumPy.
"""
