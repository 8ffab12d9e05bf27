"""Are explanations as faithful for one group as for another (explanation-disparities)?"""

__all__: list[str] = []
