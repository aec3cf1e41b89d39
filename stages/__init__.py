from pipeline.runtime.portable import pin_arithmetic

pin_arithmetic()
