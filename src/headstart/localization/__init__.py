"""Object localization: an LSTM that decodes a backbone's feature map into boxes.

"Tailored Deep CNNs for Tiny ImageNet", sections 3.5 and 4.8, after Stewart and Andriluka,
"End-to-end people detection in crowded scenes" (2015).
"""
